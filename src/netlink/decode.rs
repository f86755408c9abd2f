//! Tables, chains and rules: attributes of the kernel to values.

use std::sync::Arc;

use super::attr::{self, Attrs};
use super::decode_expr;
use super::wire::{be32, be64, nfta, udata};
use crate::ruleset::{Aside, BaseChain, Chain, ChainKind, Family, Hook, Policy, Priority, Rule};

/// Name and flags of a table.
pub(super) fn table(attributes: &[u8]) -> Option<(String, u32)> {
    let name = attr::text(attr::find(attributes, nfta::TABLE_NAME)?);
    Some((name, attr::find(attributes, nfta::TABLE_FLAGS).and_then(be32).unwrap_or_default()))
}

/// A chain without its rules, and what about it has no place in [`Chain`].
pub(super) fn chain(family: Family, attributes: &[u8]) -> Option<(Chain, Option<String>)> {
    let name = attr::text(attr::find(attributes, nfta::CHAIN_NAME)?);
    let hook = attr::find(attributes, nfta::CHAIN_HOOK);
    let (base, devices) = match hook.map(|hook| base_chain(family, attributes, hook)) {
        None => (None, 0),
        Some((base, devices)) => (Some(base), devices),
    };
    let flags = attr::find(attributes, nfta::CHAIN_FLAGS).and_then(be32).unwrap_or_default() & !FLAG_BASE;
    let mut notes = Vec::new();
    if flags != 0 {
        notes.push(format!("flags {flags:#x}"));
    }
    if devices > 1 {
        notes.push(format!("{devices} devices"));
    }
    let note = (!notes.is_empty()).then(|| format!("chain `{name}` with {}", notes.join(" and ")));
    Some((Chain { name: Arc::from(name), base, rules: Vec::new() }, note))
}

/// `NFT_CHAIN_BASE`, which every base chain has.
const FLAG_BASE: u32 = 1;

/// What makes it a base chain, and on how many devices.
fn base_chain(family: Family, attributes: &[u8], hook: &[u8]) -> (BaseChain, usize) {
    let number = |kind| attr::find(hook, kind).and_then(be32).unwrap_or_default();
    let devices: Vec<String> = match attr::find(hook, nfta::HOOK_DEVS) {
        Some(list) => Attrs::new(list).map(|device| attr::text(device.payload)).collect(),
        None => attr::find(hook, nfta::HOOK_DEV).map(attr::text).into_iter().collect(),
    };
    let kind = attr::text(attr::find(attributes, nfta::CHAIN_TYPE).unwrap_or_default());
    let base = BaseChain {
        kind: match kind.as_str() {
            "filter" => ChainKind::Filter,
            "nat" => ChainKind::Nat,
            _ => ChainKind::Other(kind),
        },
        hook: match family {
            // Their hooks have the same numbers and other meanings.
            Family::Arp | Family::Netdev => Hook::Other(number(nfta::HOOK_HOOKNUM)),
            Family::Inet | Family::Ip | Family::Ip6 | Family::Bridge => {
                Hook::from_number(number(nfta::HOOK_HOOKNUM))
            }
        },
        priority: Priority(number(nfta::HOOK_PRIORITY).cast_signed()),
        policy: match attr::find(attributes, nfta::CHAIN_POLICY).and_then(be32) {
            Some(0) => Policy::Drop,
            _ => Policy::Accept,
        },
        device: (!devices.is_empty()).then(|| devices.join(",")),
    };
    (base, devices.len())
}

/// The name of a rule's chain, and the rule.
pub(super) fn rule(attributes: &[u8]) -> Option<(String, Rule)> {
    let chain = attr::text(attr::find(attributes, nfta::RULE_CHAIN)?);
    let userdata = attr::find(attributes, nfta::RULE_USERDATA).unwrap_or_default();
    let rule = Rule {
        comment: comment(userdata).unwrap_or_default(),
        exprs: decode_expr::expressions(attr::find(attributes, nfta::RULE_EXPRESSIONS).unwrap_or_default()),
        handle: Aside(attr::find(attributes, nfta::RULE_HANDLE).and_then(be64)),
        origins: Aside(Vec::new()),
    };
    Some((chain, rule))
}

/// The comment in the user data of a rule: type, length and payload, one after the other.
fn comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = userdata {
        let (payload, rest) = rest.split_at_checked(usize::from(*len))?;
        if *kind == udata::RULE_COMMENT {
            return Some(attr::text(payload));
        }
        userdata = rest;
    }
    None
}

/// One line about a stateful object (`NFT_MSG_NEWOBJ`).
pub(super) fn object(attributes: &[u8]) -> Option<String> {
    /// `NFT_OBJECT_*`, from 1.
    const KINDS: [&str; 10] = [
        "counter",
        "quota",
        "ct helper",
        "limit",
        "connlimit",
        "tunnel",
        "ct timeout",
        "secmark",
        "ct expectation",
        "synproxy",
    ];
    let name = attr::text(attr::find(attributes, nfta::OBJ_NAME)?);
    let kind = attr::find(attributes, nfta::OBJ_TYPE).and_then(be32).unwrap_or_default();
    Some(match (kind as usize).checked_sub(1).and_then(|index| KINDS.get(index)) {
        Some(word) => format!("{word} `{name}`"),
        None => format!("object `{name}` of type {kind}"),
    })
}

/// One line about a flowtable (`NFT_MSG_NEWFLOWTABLE`).
pub(super) fn flowtable(attributes: &[u8]) -> Option<String> {
    // Table and name have the numbers that they have in an object.
    Some(format!("flowtable `{}`", attr::text(attr::find(attributes, nfta::OBJ_NAME)?)))
}
