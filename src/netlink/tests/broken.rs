//! Bytes that no kernel sends: no decoder may panic, whatever it makes of them.

use super::{creation, sample};
use crate::netlink::encode;
use crate::netlink::wire::{Messages, NLMSG_HDRLEN};
use crate::netlink::{decode, decode_expr, decode_set};
use crate::ruleset::Family;

/// Numbers that look random and are the same every time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Every decoder on the same bytes.
fn decode_all(bytes: &[u8]) {
    for message in Messages(bytes) {
        if let Some((_, _, attributes)) = message.nfgen() {
            decode_attributes(attributes);
        }
    }
    decode_attributes(bytes);
}

fn decode_attributes(attributes: &[u8]) {
    decode::table(attributes);
    for family in Family::ALL {
        decode::chain(family, attributes);
    }
    decode::rule(attributes);
    decode::object(attributes);
    decode::flowtable(attributes);
    decode_expr::expressions(attributes);
    fill(attributes, &[attributes.to_vec()]);
}

/// A tree and a concatenation, filled with the same broken elements.
fn fill(attributes: &[u8], definitions: &[Vec<u8>]) {
    for definition in definitions {
        if let Some(mut live) = decode_set::set(definition) {
            let mut dump = live.dump();
            dump.add(attributes);
            let _ = live.fill(dump);
        }
    }
}

#[test]
fn random_bytes() {
    let mut random = Random(0x1505_1a17);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        decode_all(&bytes);
        // Small lengths and types, which are more often right.
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| (random.next() % 24) as u8).collect();
        decode_all(&bytes);
    }
}

#[test]
fn real_messages_cut_short_and_scrambled() {
    let transaction = encode(&creation(&sample::ruleset()), Some(1));
    let bytes = transaction.bytes();
    let messages: Vec<&[u8]> = Messages(bytes).map(|message| message.payload).collect();
    assert_eq!(messages.len(), transaction_len(bytes));
    let definitions: Vec<Vec<u8>> =
        messages.iter().filter_map(|payload| payload.get(4..)).map(<[u8]>::to_vec).collect();
    let definitions: Vec<Vec<u8>> =
        definitions.into_iter().filter(|bytes| decode_set::set(bytes).is_some()).take(20).collect();

    let mut random = Random(0x5eed);
    for payload in messages {
        for end in 0..payload.len().min(600) {
            decode_all(&payload[..end]);
        }
        for _ in 0..200 {
            let mut scrambled = payload.to_vec();
            for _ in 0..=random.below(4) {
                if !scrambled.is_empty() {
                    let index = random.below(scrambled.len());
                    scrambled[index] = random.next() as u8;
                }
            }
            let attributes = scrambled.get(4..).unwrap_or_default();
            decode_attributes(attributes);
            fill(attributes, &definitions);
        }
    }
}

/// How many messages there are, by their length fields.
fn transaction_len(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while bytes.len() >= NLMSG_HDRLEN {
        let len = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        bytes = &bytes[len.next_multiple_of(4)..];
        count += 1;
    }
    assert!(bytes.is_empty());
    count
}
