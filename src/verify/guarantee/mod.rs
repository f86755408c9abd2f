//! What each approach claims, and the probes that back each claim.
//!
//! A claim is about the topologies that an approach has something for: rules by prefix, for instance, say nothing
//! about a network without `subnets`. Packets decide; a claim that they contradict is shown as such.

mod compared;
mod isoplan;

use crate::approach::Approach;

/// Something that an approach claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarantee {
    /// What, in one sentence.
    pub says: &'static str,
    /// Patterns of names of probes (`*/udp?`): under the approach, every one of them is held or works.
    pub probes: &'static [&'static str],
}

/// Something that an approach does not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// What, in one sentence.
    pub says: &'static str,
    /// Why, in one line: the kernel's reason.
    pub why: &'static str,
    /// Patterns of names of probes: under the approach, at least one of each pattern arrives, where the topology
    /// has such probes at all.
    pub probes: &'static [&'static str],
}

/// What an approach claims.
pub const fn guarantees(approach: Approach) -> &'static [Guarantee] {
    match approach {
        Approach::None => &[],
        Approach::Iptables => compared::IPTABLES,
        Approach::NftablesSubnet => compared::SUBNET,
        Approach::Sysctl => compared::SYSCTL,
        Approach::Route => compared::ROUTE,
        Approach::Nftables | Approach::Layered => isoplan::NFTABLES,
    }
}

/// What it does not stop.
pub const fn holes(approach: Approach) -> &'static [Hole] {
    match approach {
        Approach::None => &[],
        Approach::Iptables => compared::IPTABLES_HOLES,
        Approach::NftablesSubnet => compared::SUBNET_HOLES,
        Approach::Sysctl => compared::SYSCTL_HOLES,
        Approach::Route => compared::ROUTE_HOLES,
        Approach::Nftables | Approach::Layered => isoplan::NFTABLES_HOLES,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::approach::compared;
    use crate::intent::Intent;
    use crate::topology;
    use crate::verify::catalogue::{Extent, probes};
    use crate::verify::pattern::fits;
    use crate::verify::world::World;

    /// The names of all probes of a fixture.
    fn names(fixture: &str) -> BTreeSet<String> {
        let path = format!("{}/fixtures/{fixture}/topology.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(path).expect("a fixture");
        let topology = topology::parse("topology.toml", &text).expect("a topology");
        let intent = Intent::new(&topology);
        let all = probes(&intent, &World::new(&intent), Extent::Full);
        all.into_iter().map(|probe| probe.name).collect()
    }

    fn claims(approach: Approach) -> Vec<(&'static str, &'static [&'static str])> {
        let guarantees = guarantees(approach).iter().map(|claim| (claim.says, claim.probes));
        guarantees.chain(holes(approach).iter().map(|hole| (hole.says, hole.probes))).collect()
    }

    #[test]
    fn every_pattern_has_probes() {
        let usual = names("service-instance");
        let others: BTreeSet<String> =
            ["exceptions", "flat", "overlay", "three-nics"].into_iter().flat_map(names).collect();
        for approach in Approach::ALL {
            for (says, patterns) in claims(approach) {
                let has =
                    |names: &BTreeSet<String>, pattern: &str| names.iter().any(|name| fits(pattern, name));
                assert!(patterns.iter().any(|pattern| has(&usual, pattern)), "{approach:?}: {says}");
                for pattern in patterns {
                    assert!(
                        has(&usual, pattern) || has(&others, pattern),
                        "{approach:?}: {pattern} of {says}"
                    );
                }
            }
        }
    }

    #[test]
    fn sentences_are_whole() {
        for approach in Approach::ALL {
            let reasons = holes(approach).iter().map(|hole| hole.why);
            for text in claims(approach).into_iter().map(|(says, _)| says).chain(reasons) {
                assert!(text.ends_with('.') && !text.contains('\n'), "{approach:?}: {text}");
            }
            let says: BTreeSet<&str> = claims(approach).into_iter().map(|(says, _)| says).collect();
            assert_eq!(says.len(), claims(approach).len(), "{approach:?} says something twice");
        }
        assert!(claims(Approach::None).is_empty());
    }

    /// What `isoplan plan` says of an approach and what packets are sent against are the same.
    #[test]
    fn holes_are_those_that_the_plan_tells_of() {
        let topology = topology::Topology::nothing();
        let intent = Intent::new(&topology);
        let told = |approach| compared(&intent, approach).desired.not_covered.join("\n").to_lowercase();
        let nftables = told(Approach::Nftables);
        for hole in holes(Approach::Nftables) {
            let says = hole.says.trim_end_matches('.').to_lowercase();
            let says = says.trim_start_matches("a ");
            assert!(nftables.contains(says), "{says} is not in the plan");
        }
        // A word of each that both have, in the order of the plan; what no probe shows is left out there.
        let sysctl = told(Approach::Sysctl);
        let words = [
            "packets from containers still reach",
            "ipv6",
            "own addresses",
            "0 -> 1 write",
            "deleted and created again",
        ];
        for word in words {
            assert!(sysctl.contains(word), "{word} is not in the plan");
            let says = holes(Approach::Sysctl).iter().any(|hole| hole.says.to_lowercase().contains(word));
            assert!(says, "no hole speaks of {word}");
        }
    }
}
