//! What is on this host and no rule is about: said once.

use std::collections::BTreeSet;

use super::Watch;
use crate::approach::Approach;
use crate::diff::LiveState;
use crate::intent::Intent;
use crate::live;
use crate::plan::Surroundings;
use crate::vigil::{Event, Level};

impl Watch<'_> {
    /// Says what is new beside the topology.
    pub(super) fn remark(&mut self) {
        let (links, addresses) = live::links_and_addresses();
        let live = LiveState { links, addresses, ..LiveState::default() };
        let intent = Intent::new(&self.config.topology);
        let mut found: BTreeSet<String> = BTreeSet::new();
        let around = Surroundings::new(&intent, &live);
        let by_name = match self.desired.approach {
            Approach::Nftables => "; rules go by name and hold as soon as there is one",
            _ => "",
        };
        found.extend(around.absent.iter().map(|name| format!("not on this host now: {name}{by_name}")));
        found.extend(around.uncovered.iter().map(|address| {
            format!("in no subnet of the file, so that no rule closes it to others: {address}")
        }));
        found.extend(
            around
                .unknown
                .iter()
                .map(|link| format!("on this host and not in the file, so that its networks do not reach what is behind it: {link}")),
        );
        for remark in found.difference(&self.said.clone()) {
            self.line(Level::Notice, Event::Remark, remark.clone());
        }
        self.said = found;
    }
}
