//! What the counter of a drop rule stands for: from whom to whom.
//!
//! The rules of a host are few, whatever the number of its networks, and so are their counters. One that names a
//! single network and a single NIC stands for that pair; the others stand for a group of pairs.

use std::collections::BTreeMap;

use super::{Class, Scene};
use crate::approach::{Counted, Side};
use crate::intent::{Guard, Intent, Party};
use crate::ruleset::Family;
use crate::topology::Inbound;

/// By family, chain and id of the rule.
pub(in crate::approach) type Counters = BTreeMap<(Family, String, &'static str), Counted>;

/// The counters of the tables of an intent. A rule that the tables do not have may be among them.
pub(in crate::approach) fn counters(intent: &Intent<'_>) -> Counters {
    let mut table = Collector { scene: Scene::new(intent), counters: Counters::new() };
    table.forward();
    table.classes();
    table.input();
    table.bridge();
    table.counters
}

struct Collector<'i, 't> {
    scene: Scene<'i, 't>,
    counters: Counters,
}

impl Collector<'_, '_> {
    fn put(&mut self, chain: &str, ids: &[&'static str], from: &Side, to: &Side) {
        self.put_in(Family::Inet, chain, ids, from, to);
    }

    fn put_in(&mut self, family: Family, chain: &str, ids: &[&'static str], from: &Side, to: &Side) {
        for id in ids {
            let counted = Counted { from: from.clone(), to: to.clone() };
            self.counters.insert((family, chain.to_owned(), *id), counted);
        }
    }

    fn nics(&self, nics: impl IntoIterator<Item = usize>) -> Side {
        let nics = nics.into_iter().map(|nic| &self.scene.intent.topology.nics[nic]);
        Side::of(nics.map(|nic| format!("{} ({})", nic.name, nic.role)))
    }

    fn host_on(&self, nics: impl IntoIterator<Item = usize>) -> Side {
        let nics = nics.into_iter().map(|nic| &self.scene.intent.topology.nics[nic]);
        Side::of(nics.map(|nic| format!("host on {}", nic.name)))
    }

    /// A wildcard is many networks, and one entry of the file.
    fn networks(&self, networks: impl IntoIterator<Item = usize>) -> Side {
        let all = &self.scene.intent.topology.networks;
        let mut side = Side::of(networks.into_iter().map(|network| all[network].name.to_string()));
        side.is_one &= !side.label.ends_with('*');
        side
    }

    fn flats(&self, open: bool) -> (Side, Side) {
        let topology = self.scene.intent.topology;
        let flats = || topology.flats.iter().zip(&self.scene.intent.flat_open).filter(|(_, is)| **is == open);
        (
            Side::of(flats().map(|(flat, _)| format!("{} (flat)", flat.name))),
            Side::of(flats().map(|(flat, _)| flat.nic.to_string())),
        )
    }

    fn forward(&mut self) {
        let anyone = Side::many("anyone");
        let all = self.nics(0..self.scene.intent.topology.nics.len());
        let guarded = self.nics(self.scene.nics_guarded(Guard::All));
        let restricted = self.nics(self.scene.nics_guarded(Guard::Some));
        let unknown = Side::many("links that the file does not know");
        self.put("forward", &["F1", "F2"], &anyone, &anyone);
        self.put("forward", &["F3", "F5", "F6"], &anyone, &guarded);
        self.put("forward", &["F4", "F7", "F8"], &guarded, &anyone);
        self.put("into_guarded", &["F26"], &anyone, &guarded);
        self.put("out_of_guarded", &["F27"], &guarded, &anyone);
        self.put("by_link", &["F14", "F21", "F22"], &all.several(), &all.several());
        self.put("by_link", &["F15", "F17", "F18"], &unknown, &restricted);
        self.put("by_link", &["F16", "F19", "F20"], &restricted, &unknown);
        let networks = &self.scene.intent.topology.networks;
        let wildcards =
            self.networks((0..networks.len()).filter(|network| networks[*network].name.is_prefix()));
        self.put("same_bridge", &["S4"], &wildcards.several(), &wildcards.several());
        let (from, to) = self.one_way();
        self.put("answers", &["R2"], &from, &to);
        let (closed, _) = self.flats(false);
        self.put("leaving", &["L1"], &closed, &closed);
    }

    /// Who may only answer, and whom.
    fn one_way(&self) -> (Side, Side) {
        let intent = self.scene.intent;
        let mut pairs = Vec::new();
        for (a, reached) in intent.network_reach.iter().enumerate() {
            let only = reached.networks.iter().filter(|b| !intent.network_reach[**b].networks.contains(&a));
            pairs.extend(only.map(|b| (Party::Network(*b), Party::Network(a))));
        }
        for (a, reached) in intent.nic_reach.iter().enumerate() {
            let only = reached.nics.iter().filter(|b| !intent.nic_reach[**b].nics.contains(&a));
            pairs.extend(only.map(|b| (Party::Nic(*b), Party::Nic(a))));
        }
        let side = |end: fn(&(Party, Party)) -> Party| {
            let mut parties: Vec<Party> = pairs.iter().map(end).collect();
            parties.sort();
            parties.dedup();
            Side::of(parties.into_iter().map(|party| match party {
                Party::Network(network) => intent.topology.networks[network].name.to_string(),
                Party::Nic(nic) => {
                    format!("{} ({})", intent.topology.nics[nic].name, intent.topology.nics[nic].role)
                }
                Party::Flat(_) | Party::HostOn(_) => String::new(),
            }))
        };
        (side(|(from, _)| *from), side(|(_, to)| *to))
    }

    fn classes(&mut self) {
        let classes: Vec<(String, _, Vec<usize>)> = self
            .scene
            .classes
            .iter()
            .map(|class: &Class<'_>| (class.name.clone(), class.key, class.networks.to_vec()))
            .collect();
        let all = self.nics(0..self.scene.intent.topology.nics.len());
        let guarded = self.host_on(self.scene.nics_guarded(Guard::All));
        let guarded_nics = self.nics(self.scene.nics_guarded(Guard::All));
        for (name, key, networks) in classes {
            let members = self.networks(networks.iter().copied());
            let closed: Vec<usize> = self.scene.intent.closed_to(key).collect();
            let (closed_nics, closed_host) = (self.nics(closed.iter().copied()), self.host_on(closed));
            let from = format!("from_{name}");
            self.put(&from, &["N1", "N2"], &members, &closed_nics);
            self.put(&from, &["N3"], &members, &all);
            self.put(&from, &["N10"], &members, &guarded_nics);
            self.put(&from, &["N8"], &members, &Side::many("anywhere else"));
            for inbound in [Inbound::None, Inbound::Published, Inbound::Routed] {
                let topology = self.scene.intent.topology;
                let some =
                    networks.iter().copied().filter(|network| topology.networks[*network].inbound == inbound);
                let some = self.networks(some);
                let to = format!("to_{name}_{}", inbound.as_str());
                self.put(&to, &["T1", "T2"], &closed_nics, &some);
                self.put(&to, &["T8"], &Side::many("anyone else"), &some);
            }
            let host = format!("host_from_{name}");
            self.put(&host, &["H1", "H2"], &members, &guarded);
            self.put(&host, &["H3", "H4"], &members, &closed_host);
            self.put(&host, &["H5", "H6"], &members, &Side::many("this host's routes"));
            self.put(&host, &["H11"], &members, &Side::many("this host elsewhere"));
        }
    }

    fn input(&mut self) {
        let anyone = Side::many("anyone");
        let nics = self.scene.intent.topology.nics.len();
        let networks = &self.scene.intent.topology.networks;
        let gateways = Side::of(networks.iter().map(|network| format!("host on {}", network.name)));
        let guarded = self.host_on(self.scene.nics_guarded(Guard::All));
        let restricted = self.host_on(self.scene.nics_guarded(Guard::Some));
        let (all, host) = (self.nics(0..nics).several(), self.host_on(0..nics).several());
        self.put("input", &["I2"], &anyone, &Side::many("this host's overlays"));
        self.put("input", &["I6", "I7"], &anyone, &guarded);
        self.put("input", &["I8", "I9"], &anyone, &restricted);
        self.put("input", &["I10", "I11"], &all, &host);
        self.put("input", &["I12", "I13"], &anyone, &gateways);
    }

    fn bridge(&mut self) {
        let (closed, closed_nics) = self.flats(false);
        self.put_in(Family::Bridge, "forward", &["B1"], &closed, &closed_nics);
        self.put_in(Family::Bridge, "forward", &["B2"], &closed_nics, &closed);
        let (open, open_nics) = self.flats(true);
        self.put_in(Family::Bridge, "forward", &["B3", "B5", "B7", "B8"], &open, &open_nics);
        self.put_in(Family::Bridge, "forward", &["B4", "B6", "B9"], &open_nics, &open);
    }
}
