//! The subnets of a file together: no two overlap, and each address has at most one owner.

use ipnet::IpNet;

use super::mistake::{At, Mistakes, Span, quote};
use super::names::Owner;
use super::raw::{Raw, Subnets};

/// A subnet and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owned {
    pub(super) net: IpNet,
    pub(super) owner: Owner,
    pub(super) span: Span,
}

/// The subnets of a file, sorted; those that overlap another are left out.
#[derive(Debug)]
pub(super) struct Index {
    owned: Vec<Owned>,
    /// What refused subnets may have meant; sorted, none within another.
    vague: Vec<IpNet>,
}

impl Index {
    /// Collects all subnets; reports those that overlap.
    pub(super) fn of(raw: &Raw, mistakes: &mut Mistakes) -> Self {
        let mut all = Vec::new();
        let mut vague = Vec::new();
        let mut collect = |subnets: &Subnets, owner: Owner| {
            let nets = subnets.list.items.iter();
            all.extend(nets.map(|At { value: net, span }| Owned { net: *net, owner, span: *span }));
            vague.extend(subnets.vague.iter().copied());
        };
        for (index, network) in raw.networks.iter().enumerate() {
            collect(&network.subnets, Owner::Network(index));
        }
        for (index, nic) in raw.nics.iter().enumerate() {
            collect(&nic.subnets, Owner::Nic(index));
        }
        // A network sorts before all that it contains, so that each one overlaps the last root or none.
        all.sort_by_cached_key(|owned| (bits(owned.net), owned.span));
        let mut roots: Vec<Owned> = Vec::with_capacity(all.len());
        for next in all {
            match roots.last() {
                Some(root) if root.net.contains(&next.net) => overlap(root, &next, raw, mistakes),
                _ => roots.push(next),
            }
        }
        vague.sort();
        vague.dedup_by(|next, root| root.contains(&*next));
        Self { owned: roots, vague }
    }

    /// The subnet that a network is within.
    pub(super) fn around(&self, net: IpNet) -> Option<&Owned> {
        let after = self.owned.partition_point(|owned| owned.net <= net);
        self.owned.get(after.checked_sub(1)?).filter(|owned| owned.net.contains(&net))
    }

    /// The subnets within a network.
    pub(super) fn within(&self, net: IpNet) -> impl Iterator<Item = &Owned> {
        let first = self.owned.partition_point(|owned| owned.net < net);
        let from = self.owned.get(first..).unwrap_or_default();
        from.iter().take_while(move |owned| net.contains(&owned.net))
    }

    /// All of one family.
    pub(super) fn family(&self, ipv4: bool) -> impl Iterator<Item = &Owned> {
        self.owned.iter().filter(move |owned| is_ipv4(owned.net) == ipv4)
    }

    /// Whether a subnet that was refused may have been meant to contain it.
    pub(super) fn may_contain(&self, net: IpNet) -> bool {
        let after = self.vague.partition_point(|vague| *vague <= net);
        after.checked_sub(1).and_then(|at| self.vague.get(at)).is_some_and(|vague| vague.contains(&net))
    }
}

/// What tells two networks apart in the order of [`IpNet`], as numbers that are quicker to compare.
fn bits(net: IpNet) -> (bool, u128, u8) {
    let address = match net {
        IpNet::V4(net) => net.addr().to_bits().into(),
        IpNet::V6(net) => net.addr().to_bits(),
    };
    (!is_ipv4(net), address, net.prefix_len())
}

pub(super) const fn is_ipv4(net: IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

/// `IPv4` or `IPv6`.
pub(super) const fn family(net: IpNet) -> &'static str {
    if is_ipv4(net) { "IPv4" } else { "IPv6" }
}

fn overlap(a: &Owned, b: &Owned, raw: &Raw, mistakes: &mut Mistakes) {
    let (earlier, later) = if a.span < b.span { (a, b) } else { (b, a) };
    let (first, second) = (quote(&earlier.net.to_string()), quote(&later.net.to_string()));
    let message = match (a.owner == b.owner, a.net == b.net) {
        (true, true) => format!("{second} is in `subnets` of {} twice", later.owner.title(raw)),
        (true, false) => format!("{second} overlaps {first} in `subnets` of {}", later.owner.title(raw)),
        (false, _) => {
            let (later, earlier) = (later.owner.title(raw), earlier.owner.title(raw));
            format!("{second} of {later} overlaps {first} of {earlier}")
        }
    };
    let hint = if a.owner == b.owner {
        "leave the smaller one out"
    } else {
        "an address is on one network only: rules could not tell the two apart"
    };
    let hint = if a.net == b.net && a.owner == b.owner { "leave one out" } else { hint };
    mistakes.add(later.span, message).related(earlier.span, "overlaps this").hint(hint);
}
