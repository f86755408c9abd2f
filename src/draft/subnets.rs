//! Networks that several entries have: no two entries of a file may overlap.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// A network that an entry says to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) net: IpNet,
    /// The number of the entry.
    pub(super) owner: usize,
    /// Of two entries with the same network the lower one has it.
    pub(super) rank: u8,
}

/// A network that an entry does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) net: IpNet,
    pub(super) owner: usize,
    /// Who has the very same; else parts of it are too many others'.
    pub(super) to: Option<usize>,
}

impl GivenUp {
    pub(super) fn told(self, title: &impl Fn(usize) -> String) -> String {
        let Self { net, owner, to } = self;
        match to {
            Some(to) => format!("{net} of {}: {} has the same network.", title(owner), title(to)),
            None => format!("{net} of {}: too many parts of it are networks of others.", title(owner)),
        }
    }
}

/// Who has what, no two of them overlapping.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// By owner; sorted.
    pub(super) nets: BTreeMap<usize, Vec<IpNet>>,
    pub(super) given_up: Vec<GivenUp>,
}

/// Up to so many holes a network is cut into pieces around them.
const HOLES: usize = 16;

/// As routing does it: a narrower network is cut out of the wider one that it is in.
pub(super) fn resolve(mut claims: Vec<Claim>) -> Resolved {
    // A network stands in front of those within it.
    claims.sort_by_key(|claim| (claim.net.network(), claim.net.prefix_len(), claim.rank, claim.owner));
    let mut resolved = Resolved::default();
    let mut nodes: Vec<(Claim, Vec<IpNet>)> = Vec::new();
    let mut around: Vec<usize> = Vec::new();
    for claim in claims {
        while around.last().is_some_and(|last| !nodes[*last].0.net.contains(&claim.net)) {
            around.pop();
        }
        if let Some(last) = around.last() {
            let (outer, holes) = &mut nodes[*last];
            if outer.owner == claim.owner {
                continue;
            }
            if outer.net == claim.net {
                let given_up = GivenUp { net: claim.net, owner: claim.owner, to: Some(outer.owner) };
                if !resolved.given_up.contains(&given_up) {
                    resolved.given_up.push(given_up);
                }
                continue;
            }
            holes.push(claim.net);
        }
        around.push(nodes.len());
        nodes.push((claim, Vec::new()));
    }
    for (Claim { net, owner, .. }, holes) in nodes {
        if holes.len() > HOLES {
            resolved.given_up.push(GivenUp { net, owner, to: None });
            continue;
        }
        cut(net, &holes, resolved.nets.entry(owner).or_default());
    }
    resolved.nets.retain(|_, nets| !nets.is_empty());
    resolved.nets.values_mut().for_each(|nets| nets.sort());
    resolved
}

/// What is left of a network without the holes in it.
fn cut(net: IpNet, holes: &[IpNet], pieces: &mut Vec<IpNet>) {
    if !holes.iter().any(|hole| net.contains(hole) || hole.contains(&net)) {
        pieces.push(net);
        return;
    }
    if holes.iter().any(|hole| hole.contains(&net)) {
        return;
    }
    // A hole is within it, so that it has halves.
    for half in net.subnets(net.prefix_len() + 1).into_iter().flatten() {
        cut(half, holes, pieces);
    }
}

/// Whether it is a network that every link has: link-local or multicast.
pub(super) fn is_link_scope(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.network().is_link_local() || net.network().is_multicast(),
        IpNet::V6(net) => net.network().is_unicast_link_local() || net.network().is_multicast(),
    }
}
