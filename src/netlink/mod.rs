//! nf_tables over netlink: the rule set read into [`crate::ruleset`] values, and transactions written.
//!
//! ```text
//! Op --encode--> Transaction --Nftables::commit--> kernel --Nftables::read_tables--> Snapshot
//! ```
//!
//! Messages to the kernel are built with libnftnl's objects, behind the one fence of unsafe code that the
//! crate has (`ffi`). What the kernel answers is taken apart in safe code of our own (`attr`, `decode*`),
//! because libnftnl refuses a whole rule that holds one expression which it does not know, and isoplan
//! must keep and report such a rule.
//!
//! What a caller can rely on:
//! - a transaction is one batch in one `sendmsg`: the kernel carries out all of it or nothing;
//! - with a generation it is carried out only while the rule set is still what was read;
//! - a [`Snapshot`] is of one generation, and has every element of every set;
//! - nothing that the kernel says makes this module panic, and nothing in a table is dropped for being
//!   unknown.

mod attr;
pub mod conntrack;
mod decode;
mod decode_expr;
mod decode_set;
mod elsewhere;
mod encode;
mod encode_expr;
mod encode_set;
mod error;
pub mod events;
#[expect(unsafe_code, reason = "libnftnl objects and socket options; the crate's only unsafe code")]
mod ffi;
mod find;
mod foreign;
mod read;
mod route;
mod rtnl;
mod socket;
mod tc;
mod trace;
mod wire;

#[cfg(test)]
mod test_ns;
#[cfg(test)]
mod tests;

pub use elsewhere::links_beside;
pub use encode::{Transaction, encode};
pub use encode_set::count_in_kernel;
pub use error::{CommitError, Error, Unencodable};
pub use ffi::{link_address, netns_cookie};
pub use foreign::Foreign;
pub use read::{Known, Snapshot, Steady};
pub use route::{RouteFound, RouteQuery, route};
pub use rtnl::{host, links_and_addresses};
pub use socket::Nftables;
pub use tc::{TcAction, TcFilter, filters};
pub use trace::{Told, TraceSocket};

/// Everything that takes the kernel's answers apart, on the same bytes: for fuzzing. Each is asked what it makes
/// of them as a datagram of messages and as the attributes of one message.
#[doc(hidden)]
pub fn take_apart(bytes: &[u8]) {
    fn attributes(bytes: &[u8], definition: &[u8]) {
        decode::table(bytes);
        for family in crate::ruleset::Family::ALL {
            decode::chain(family, bytes);
        }
        decode::rule(bytes);
        decode::object(bytes);
        decode::flowtable(bytes);
        decode_expr::expressions(bytes);
        for definition in [bytes, definition] {
            if let Some(mut set) = decode_set::set(definition) {
                let mut dump = set.dump();
                dump.add(bytes);
                let _ = set.fill(dump);
            }
        }
    }
    let mut definition: &[u8] = &[];
    for message in wire::Messages(bytes) {
        if let Some((_, _, payload)) = message.nfgen() {
            attributes(payload, definition);
            if decode_set::set(payload).is_some() {
                definition = payload;
            }
        }
    }
    attributes(bytes, definition);
}

/// The sets of a batch with their elements, taken apart as those of a dump are: for benchmarks.
#[doc(hidden)]
pub fn sets_of(batch: &[u8]) -> Vec<crate::ruleset::Set> {
    let mut sets = Vec::new();
    for message in wire::Messages(batch) {
        let Some((_, _, attributes)) = message.nfgen() else { continue };
        match message.nft_type() {
            Some(wire::msg::NEWSET) => sets.extend(decode_set::set(attributes).map(|set| {
                let dump = set.dump();
                (set, dump)
            })),
            Some(wire::msg::NEWSETELEM) => {
                let name = attr::find(attributes, wire::nfta::ELEM_LIST_SET).map(attr::text);
                let of = sets.iter_mut().find(|(set, _)| Some(&*set.set.name) == name.as_deref());
                if let Some((_, dump)) = of {
                    dump.add(attributes);
                }
            }
            _ => {}
        }
    }
    let filled = sets.into_iter().filter_map(|(mut set, dump)| set.fill(dump).is_ok().then_some(set.set));
    filled.collect()
}
