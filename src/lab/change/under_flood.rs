//! The approach applied again and again while a container floods the server of the closed NIC.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Witness;
use super::scene::Scene;
use crate::approach::Approach;
use crate::intent::{Intent, IpFamily};
use crate::lab::isolate;
use crate::lab::node::Namespace;
use crate::lab::protect;
use crate::topology::{Reach, Role, Topology};
use crate::verify::outcome::{Observation, Outcome, Sighting};

/// Where the flood goes: nobody listens there.
const FLOOD: u16 = 9009;
/// How often the approach is applied: the last time by the file as it is.
const TIMES: usize = 6;
/// How many more packets are sent in each family before the counters are read: those sent before have arrived by
/// then, or never will. They go by one CPU, in order.
const BEHIND: u64 = 500;
/// Far above what it takes: a limit, not a measure.
const LIMIT: Duration = Duration::from_secs(20);

/// Applies it under the flood and tells what came of that.
pub(super) fn apply(scene: &Scene<'_, '_>, approach: Approach) -> io::Result<Vec<Witness>> {
    let (sender, receiver) = (scene.lab.world.node(scene.container), scene.lab.world.node(scene.server()?));
    let targets = scene.families.iter().filter_map(|family| Some((*family, receiver.address(*family)?)));
    let targets: BTreeMap<IpFamily, IpAddr> = targets.collect();
    let (from, to) = (scene.lab.at(scene.container), scene.lab.at(scene.server()?));
    from.feed("nft", &["-f", "-"], &counters("output"))?;
    to.feed("nft", &["-f", "-"], &counters("prerouting"))?;

    let flood = Flood::start(from, targets.values())?;
    let mut sent = wait_until_sent(from, &targets, &BTreeMap::new(), 1)?;
    let other = in_other_words(scene.intent.topology, scene.subject.nic);
    let other = Intent::new(&other);
    for intent in [&other, scene.intent].into_iter().cycle().take(TIMES) {
        protect::apply(scene.lab, intent, approach)?;
        // Without one that was sent meanwhile nothing was tried.
        sent = wait_until_sent(from, &targets, &sent, 1)?;
    }
    wait_until_sent(from, &targets, &sent, BEHIND)?;
    drop(flood);

    let arrived = read(to)?;
    let sources = sources(to)?;
    let bridge = scene.bridge().name.clone();
    let nic = scene.link_of_nic()?.name.clone();
    let mut witnesses = Vec::new();
    for (family, destination) in targets {
        if arrived.get(&family).copied().unwrap_or(0) == 0 {
            continue;
        }
        let of_family = |source: &&IpAddr| source.is_ipv4() == (family == IpFamily::V4);
        let own = sender.address(family);
        let sighting = sources.iter().find(of_family).map(|source| Sighting {
            node: receiver.name.clone(),
            source: *source,
            destination: Some(destination),
            source_port: None,
            destination_port: Some(FLOOD),
            after_us: 0,
        });
        let from = own.map_or_else(|| sender.name.clone(), |address| address.to_string());
        let observation = Observation {
            outcome: Outcome::Delivered,
            sent: format!("{from} -> {}, UDP, a flood", SocketAddr::new(destination, FLOOD)),
            came_in: Some(bridge.clone()),
            left_by: vec![nic.clone()],
            seen: sighting.into_iter().collect(),
            decided_by: Vec::new(),
        };
        witnesses.push(Witness { sender: scene.container, receiver: scene.server()?, family, observation });
    }
    Ok(witnesses)
}

/// The same topology with another word for the closed NIC's role, which means the same: what is applied again
/// without any difference would change nothing in the kernel.
fn in_other_words(original: &Topology, nic: usize) -> Topology {
    let mut topology = original.clone();
    let old = topology.nics[nic].role.clone();
    let is_free = |role: &Role| original.nics.iter().all(|nic| nic.role != *role);
    let new = (2..=9).map(|number| Role(format!("{old}{number}"))).find(is_free);
    let Some(new) = new else { return topology };
    let rename = |role: &mut Role| {
        if *role == old {
            role.clone_from(&new);
        }
    };
    let of_networks = topology.networks.iter_mut().map(|network| &mut network.reach);
    for reach in of_networks.chain(topology.nics.iter_mut().map(|nic| &mut nic.reach)) {
        for word in reach.iter_mut() {
            if let Reach::Role(role) = word {
                rename(role);
            }
        }
        reach.sort();
    }
    topology.flats.iter_mut().for_each(|flat| flat.reach.iter_mut().for_each(rename));
    topology.nics.iter_mut().for_each(|nic| rename(&mut nic.role));
    topology
}

/// A process that sends, in the container's namespace. Ends with this value.
struct Flood(Child);

impl Flood {
    fn start<'a>(from: &Namespace, to: impl Iterator<Item = &'a IpAddr>) -> io::Result<Self> {
        let targets = to.map(|address| SocketAddr::new(*address, FLOOD).to_string());
        let targets: Vec<String> = targets.collect();
        let child = from.enter(|| {
            let mut command = Command::new(isolate::program());
            command.args([isolate::STAGE, "flood"]).args(targets);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        })??;
        Ok(Self(child))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counts packets of the flood at a hook, and remembers their sources. A counter misses none, unlike a capture.
fn counters(hook: &str) -> String {
    format!(
        "table inet flood {{
            counter ipv4 {{ }}
            counter ipv6 {{ }}
            set sources4 {{ type ipv4_addr; flags dynamic; size 64; }}
            set sources6 {{ type ipv6_addr; flags dynamic; size 64; }}
            chain {hook} {{
                type filter hook {hook} priority raw;
                meta nfproto ipv4 udp dport {FLOOD} counter name ipv4 add @sources4 {{ ip saddr }}
                meta nfproto ipv6 udp dport {FLOOD} counter name ipv6 add @sources6 {{ ip6 saddr }}
            }}
        }}"
    )
}

fn listed(namespace: &Namespace, args: &[&str]) -> io::Result<Vec<Value>> {
    let text = namespace.feed("nft", &[&["-j", "list"], args].concat(), "")?;
    let listing: Value = serde_json::from_str(&text)?;
    Ok(listing["nftables"].as_array().cloned().unwrap_or_default())
}

fn read(namespace: &Namespace) -> io::Result<BTreeMap<IpFamily, u64>> {
    let objects = listed(namespace, &["counters", "table", "inet", "flood"])?;
    let counter = |object: &Value| {
        let family = match object["counter"]["name"].as_str()? {
            "ipv4" => IpFamily::V4,
            _ => IpFamily::V6,
        };
        Some((family, object["counter"]["packets"].as_u64()?))
    };
    Ok(objects.iter().filter_map(counter).collect())
}

fn sources(namespace: &Namespace) -> io::Result<Vec<IpAddr>> {
    let objects = listed(namespace, &["table", "inet", "flood"])?;
    let elements = objects.iter().flat_map(|object| object["set"]["elem"].as_array().into_iter().flatten());
    Ok(elements.filter_map(|element| element.as_str()?.parse().ok()).collect())
}

/// Waits until so many more were sent in each family than at another time; how many there are then.
fn wait_until_sent(
    from: &Namespace,
    targets: &BTreeMap<IpFamily, IpAddr>,
    before: &BTreeMap<IpFamily, u64>,
    more: u64,
) -> io::Result<BTreeMap<IpFamily, u64>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let now = read(from)?;
        let of = |counts: &BTreeMap<IpFamily, u64>, family| counts.get(family).copied().unwrap_or(0);
        if targets.keys().all(|family| of(&now, family) >= of(before, family) + more) {
            return Ok(now);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::other("the flood does not flow"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approach::compared;
    use crate::topology::parse;

    #[test]
    fn other_words_are_other_rules_of_the_same_meaning() {
        let file = "
            [[bridge]]
            name = \"docker0\"
            subnets = [\"172.17.0.0/16\"]
            [[bridge]]
            name = \"br-backup\"
            subnets = [\"172.18.0.0/16\"]
            reach = [\"storage\", \"service\"]
            [[nic]]
            name = \"eth0\"
            role = \"service\"
            subnets = [\"192.168.56.0/24\"]
            [[nic]]
            name = \"eth1\"
            role = \"storage\"
            subnets = [\"192.168.57.0/24\"]
            [[nic]]
            name = \"eth2\"
            role = \"storage2\"
            subnets = [\"192.168.58.0/24\"]";
        let original = parse("topology.toml", file.as_bytes()).expect("a topology");
        let other = in_other_words(&original, 1);
        assert_eq!(other.nics[1].role.0, "storage3");
        let (original, other) = (Intent::new(&original), Intent::new(&other));
        assert_eq!(original.network_reach, other.network_reach);
        assert_eq!(original.nic_reach, other.nic_reach);
        assert_eq!(original.guards, other.guards);
        for approach in [Approach::Nftables, Approach::NftablesSubnet, Approach::Layered] {
            let [was, is] = [&original, &other].map(|intent| compared(intent, approach).desired.ruleset);
            assert_ne!(was, is, "{}", approach.as_str());
        }
    }
}
