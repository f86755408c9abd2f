//! Which tables there are besides isoplan's: names, chains with their policies, flowtables. Not their rules.

use std::thread;
use std::time::Duration;

use super::attr::{self, Attrs};
use super::decode;
use super::error::Error;
use super::socket::{DumpError, Nftables, Request};
use super::wire::{be32, msg, nfta};
use crate::risks::{Flowtable, ForeignTable};
use crate::ruleset::{Family, Policy, TABLE_NAME};

/// How often to start over because somebody changed the rule set meanwhile.
const TRIES: u32 = 64;
/// `NFPROTO_UNSPEC`: every family.
const EVERY_FAMILY: u8 = 0;
/// `NFTA_FLOWTABLE_HOOK` and `NFTA_FLOWTABLE_HOOK_DEVS`; table and name have the numbers that they have in an
/// object.
const FLOWTABLE_HOOK: u16 = 3;
const FLOWTABLE_HOOK_DEVS: u16 = 3;

/// What others have in nf_tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Foreign {
    /// Every table that is not named isoplan.
    pub tables: Vec<ForeignTable>,
    /// Every flowtable, of any table.
    pub flowtables: Vec<Flowtable>,
}

impl Nftables {
    /// Reads the names of the tables that are not isoplan's, their chains, and all flowtables.
    ///
    /// All of it is of one generation. Needs `CAP_NET_ADMIN`.
    pub fn read_foreign(&mut self) -> Result<Foreign, Error> {
        for attempt in 0..TRIES {
            match self.foreign_once() {
                Ok(foreign) => return Ok(foreign),
                Err(DumpError::Failed(error)) => return Err(error),
                Err(DumpError::Moved) => thread::sleep(Duration::from_millis(u64::from(attempt.min(20)))),
            }
        }
        Err(Error::KeepsChanging { tries: TRIES })
    }

    fn foreign_once(&mut self) -> Result<Foreign, DumpError> {
        let generation = self.generation()?;
        let mut foreign = Foreign::default();
        let request = |what, kind, answer| Request { what, kind, answer, family: EVERY_FAMILY, filter: &[] };
        self.dump(request("tables", msg::GETTABLE, msg::NEWTABLE), generation, |family, attributes| {
            if let (Some(family), Some((name, _))) = (Family::from_number(family), decode::table(attributes))
                && name != TABLE_NAME
            {
                foreign.tables.push(ForeignTable { family, name, chains: Vec::new() });
            }
        })?;
        self.dump(request("chains", msg::GETCHAIN, msg::NEWCHAIN), generation, |family, attributes| {
            let text = |kind| attr::find(attributes, kind).map(attr::text);
            let (Some(table), Some(name)) = (text(nfta::CHAIN_TABLE), text(nfta::CHAIN_NAME)) else { return };
            let policy = attr::find(attributes, nfta::CHAIN_POLICY).and_then(be32);
            let policy = policy.map(|policy| if policy == 0 { Policy::Drop } else { Policy::Accept });
            let mut tables = foreign.tables.iter_mut();
            if let Some(table) = tables.find(|other| other.family.number() == family && other.name == table) {
                table.chains.push((name, policy));
            }
        })?;
        let flowtables = request("flowtables", msg::GETFLOWTABLE, msg::NEWFLOWTABLE);
        self.dump(flowtables, generation, |family, attributes| {
            foreign.flowtables.extend(flowtable(family, attributes));
        })?;
        if self.generation()? != generation {
            return Err(DumpError::Moved);
        }
        Ok(foreign)
    }
}

fn flowtable(family: u8, attributes: &[u8]) -> Option<Flowtable> {
    let text = |kind| attr::find(attributes, kind).map(attr::text);
    let family = Family::from_number(family).map_or_else(|| family.to_string(), |family| family.to_string());
    let hook = attr::find(attributes, FLOWTABLE_HOOK).unwrap_or_default();
    let devices = attr::find(hook, FLOWTABLE_HOOK_DEVS).unwrap_or_default();
    Some(Flowtable {
        table: format!("{family} {}", text(nfta::OBJ_TABLE)?),
        name: text(nfta::OBJ_NAME)?,
        links: Attrs::new(devices).map(|device| attr::text(device.payload)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::attr::Writer;
    use super::*;

    /// As a kernel with flowtables sends it (`nf_tables_fill_flowtable_info`); the one that the tests run on has
    /// none.
    #[test]
    fn a_flowtable_is_read_from_bytes() {
        let mut writer = Writer::default();
        writer.put_str(nfta::OBJ_TABLE, "firewalld");
        writer.put_str(nfta::OBJ_NAME, "fast");
        writer.put(4, &1_u32.to_be_bytes());
        writer.put(5, &9_u64.to_be_bytes());
        writer.nest(FLOWTABLE_HOOK, |hook| {
            hook.put(1, &0_u32.to_be_bytes());
            hook.put(2, &0_u32.to_be_bytes());
            hook.nest(FLOWTABLE_HOOK_DEVS, |devices| {
                devices.put_str(1, "eth0");
                devices.put_str(1, "eth1");
            });
        });
        let bytes = writer.finish().expect("it is short");
        let found = flowtable(1, &bytes).expect("a flowtable");
        assert_eq!((found.table.as_str(), found.name.as_str()), ("inet firewalld", "fast"));
        assert_eq!(found.links, ["eth0", "eth1"]);
        for length in 0..bytes.len() {
            let _ = flowtable(1, &bytes[..length]);
        }
    }
}
