//! Elements of sets in nft syntax.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::ruleset::{ElementData, ElementKey, FieldType, Set, SetData, Verdict};

/// An element as nft writes it: `"br-*" . 192.168.57.0/24 : drop`.
pub fn element(set: &Set, key: &ElementKey, data: &ElementData) -> String {
    let mut fields = Vec::with_capacity(set.key.len());
    let mut at = 0;
    for field in &set.key {
        let end = at + field.len();
        match (key.first().get(at..end), key.upper().get(at..end)) {
            (Some(first), Some(last)) => fields.push(interval(*field, first, last)),
            _ => fields.push("?".to_owned()),
        }
        at = end.next_multiple_of(4);
    }
    if fields.is_empty() {
        fields.push(hex(key.first()));
    }
    let mut text = fields.join(" . ");
    if let Some(decision) = &data.verdict {
        text.push_str(" : ");
        text.push_str(&verdict(decision));
    }
    if let Some(bytes) = &data.value {
        text.push_str(" : ");
        match set.data {
            SetData::Value(field) => text.push_str(&value(field, bytes)),
            _ => text.push_str(&hex(bytes)),
        }
    }
    text
}

/// A verdict as nft writes it.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Continue => "continue".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
    }
}

fn interval(field: FieldType, first: &[u8], last: &[u8]) -> String {
    if first == last {
        return value(field, first);
    }
    match field {
        FieldType::IfName => {
            let stem = first.iter().position(|byte| *byte == 0).unwrap_or(first.len());
            if last[stem..].iter().all(|byte| *byte == 0xff) && first[..stem] == last[..stem] {
                return format!("\"{}*\"", name(first));
            }
        }
        FieldType::Ipv4Addr | FieldType::Ipv6Addr => {
            if let Some(length) = prefix_length(first, last) {
                return format!("{}/{length}", value(field, first));
            }
        }
        _ => {}
    }
    format!("{}-{}", value(field, first), value(field, last))
}

/// The length of the prefix that an interval is, if it is one.
fn prefix_length(first: &[u8], last: &[u8]) -> Option<u32> {
    let bits: Vec<u8> = first.iter().zip(last).map(|(a, b)| a ^ b).collect();
    let length = bits
        .iter()
        .position(|byte| *byte != 0)
        .map_or(bits.len() * 8, |at| at * 8 + usize::try_from(bits[at].leading_zeros()).unwrap_or(0));
    let host = |index: usize| -> u8 {
        let before = index * 8;
        match length.saturating_sub(before) {
            0 => 0xff,
            covered if covered >= 8 => 0,
            covered => 0xff >> covered,
        }
    };
    let whole = (0..bits.len()).all(|index| {
        let mask = host(index);
        bits[index] == mask && first[index] & mask == 0
    });
    if whole { u32::try_from(length).ok() } else { None }
}

/// One value as nft writes it.
pub(super) fn value(field: FieldType, bytes: &[u8]) -> String {
    match field {
        FieldType::IfName => format!("\"{}\"", name(bytes)),
        FieldType::Ipv4Addr => match <[u8; 4]>::try_from(bytes) {
            Ok(octets) => Ipv4Addr::from(octets).to_string(),
            Err(_) => hex(bytes),
        },
        FieldType::Ipv6Addr => match <[u8; 16]>::try_from(bytes) {
            Ok(octets) => Ipv6Addr::from(octets).to_string(),
            Err(_) => hex(bytes),
        },
        FieldType::InetService => match <[u8; 2]>::try_from(bytes) {
            Ok(port) => u16::from_be_bytes(port).to_string(),
            Err(_) => hex(bytes),
        },
        FieldType::InetProto => match bytes {
            [1] => "icmp".to_owned(),
            [6] => "tcp".to_owned(),
            [17] => "udp".to_owned(),
            [132] => "sctp".to_owned(),
            [number] => number.to_string(),
            _ => hex(bytes),
        },
        FieldType::EtherType => match bytes {
            [0x08, 0x00] => "ip".to_owned(),
            [0x08, 0x06] => "arp".to_owned(),
            [0x86, 0xdd] => "ip6".to_owned(),
            _ => hex(bytes),
        },
        FieldType::IcmpType => match bytes {
            [5] => "redirect".to_owned(),
            [number] => number.to_string(),
            _ => hex(bytes),
        },
        FieldType::Icmpv6Type => match bytes {
            [134] => "nd-router-advert".to_owned(),
            [135] => "nd-neighbor-solicit".to_owned(),
            [136] => "nd-neighbor-advert".to_owned(),
            [137] => "nd-redirect".to_owned(),
            [number] => number.to_string(),
            _ => hex(bytes),
        },
        FieldType::FibAddrType => match <[u8; 4]>::try_from(bytes).map(u32::from_ne_bytes) {
            Ok(1) => "unicast".to_owned(),
            Ok(2) => "local".to_owned(),
            Ok(3) => "broadcast".to_owned(),
            Ok(4) => "anycast".to_owned(),
            Ok(5) => "multicast".to_owned(),
            Ok(number) => number.to_string(),
            Err(_) => hex(bytes),
        },
    }
}

/// A NUL-padded name as text. What is not printable ASCII is shown as `?`: it may go to a terminal.
fn name(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    bytes
        .iter()
        .map(|byte| if byte.is_ascii_graphic() && *byte != b'"' { char::from(*byte) } else { '?' })
        .collect()
}

/// Bytes as `0x...`.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_told_from_ranges() {
        let check = |first: [u8; 4], last: [u8; 4], expected: &str| {
            assert_eq!(interval(FieldType::Ipv4Addr, &first, &last), expected);
        };
        check([192, 168, 57, 0], [192, 168, 57, 255], "192.168.57.0/24");
        check([172, 16, 0, 0], [172, 31, 255, 255], "172.16.0.0/12");
        check([0; 4], [255; 4], "0.0.0.0/0");
        check([10, 0, 0, 1], [10, 0, 0, 2], "10.0.0.1-10.0.0.2");
        check([10, 0, 0, 2], [10, 0, 0, 5], "10.0.0.2-10.0.0.5");
        check([10, 0, 0, 2], [10, 0, 0, 3], "10.0.0.2/31");
        check([10, 0, 0, 1], [10, 0, 0, 1], "10.0.0.1");
    }
}
