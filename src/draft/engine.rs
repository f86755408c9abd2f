//! What Docker and Podman say of their networks and containers: JSON to values.
//!
//! Docker Engine API 1.24 and later, `/networks` and `/containers/json`; Podman's libpod API 4,
//! `/libpod/networks/json`, and its files in `/etc/containers/networks`, which have the same form.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::evidence::shown;

/// Who runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// Docker, or what speaks its API.
    Docker,
    /// Podman.
    Podman,
}

impl Engine {
    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        }
    }
}

/// A network of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Whose.
    pub engine: Engine,
    /// As its user calls it.
    pub name: String,
    /// `bridge`, `macvlan`, `ipvlan`, `overlay`, ...
    pub driver: String,
    /// The bridge; none where its driver makes none.
    pub interface: Option<String>,
    /// The link that a macvlan or ipvlan is on.
    pub parent: Option<String>,
    /// Whether the engine keeps it from everything outside.
    pub internal: bool,
    /// Its addresses.
    pub subnets: Vec<IpNet>,
}

impl EngineNetwork {
    /// "Docker's network web".
    pub fn title(&self) -> String {
        let internal = if self.internal { ", internal" } else { "" };
        format!("{}'s network {}{internal}", self.engine.as_str(), shown(&self.name))
    }
}

/// A port that a container has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The container, as its user calls it.
    pub container: String,
    /// On which address of the host; unspecified for all.
    pub address: IpAddr,
    /// On which port.
    pub port: u16,
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn subnets<'v>(configs: impl Iterator<Item = &'v Value>, key: &str) -> Vec<IpNet> {
    let mut subnets: Vec<IpNet> = configs
        .filter_map(|config| text(config, key)?.parse::<IpNet>().ok())
        .map(|net| net.trunc())
        .collect();
    subnets.sort();
    subnets.dedup();
    subnets
}

/// The answer to Docker's `/networks`; none where it is no such thing.
pub fn docker_networks(json: &[u8]) -> Option<Vec<EngineNetwork>> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let network = |network: &Value| {
        let driver = text(network, "Driver")?.to_owned();
        let options = network.get("Options").unwrap_or(&Value::Null);
        let made_up = || {
            // `newLinkName` in Docker's bridge driver: twelve digits of the id.
            Some(format!("br-{}", text(network, "Id")?.get(..12)?))
        };
        let named = text(options, "com.docker.network.bridge.name").filter(|name| !name.is_empty());
        let interface = match driver.as_str() {
            "bridge" => named.map(str::to_owned).or_else(made_up),
            _ => None,
        };
        Some(EngineNetwork {
            engine: Engine::Docker,
            name: text(network, "Name")?.to_owned(),
            driver,
            interface,
            parent: text(options, "parent").map(str::to_owned),
            internal: network.get("Internal").and_then(Value::as_bool).unwrap_or(false),
            subnets: subnets(network.get("IPAM").into_iter().flat_map(|ipam| list(ipam, "Config")), "Subnet"),
        })
    };
    Some(value.as_array()?.iter().filter_map(network).collect())
}

/// A network of Podman's, from its file.
pub fn podman_network(json: &[u8]) -> Option<EngineNetwork> {
    podman(&serde_json::from_slice(json).ok()?)
}

/// The answer to Podman's `/libpod/networks/json`; none where it is no such thing.
pub fn podman_networks(json: &[u8]) -> Option<Vec<EngineNetwork>> {
    let value: Value = serde_json::from_slice(json).ok()?;
    Some(value.as_array()?.iter().filter_map(podman).collect())
}

fn podman(network: &Value) -> Option<EngineNetwork> {
    let driver = text(network, "driver")?.to_owned();
    let interface = text(network, "network_interface").filter(|name| !name.is_empty()).map(str::to_owned);
    // For a macvlan it is the parent.
    let (interface, parent) = if driver == "bridge" { (interface, None) } else { (None, interface) };
    Some(EngineNetwork {
        engine: Engine::Podman,
        name: text(network, "name")?.to_owned(),
        driver,
        interface,
        parent,
        internal: network.get("internal").and_then(Value::as_bool).unwrap_or(false),
        subnets: subnets(list(network, "subnets").iter(), "subnet"),
    })
}

/// The answer to Docker's `/containers/json`, which Podman has as well: published ports, and the names of
/// containers on the host's network.
pub fn containers(json: &[u8]) -> Option<(Vec<Published>, Vec<String>)> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let (mut published, mut on_host) = (Vec::new(), Vec::new());
    for container in value.as_array()? {
        let name = list(container, "Names").first().and_then(Value::as_str).unwrap_or("?");
        let name = shown(name.trim_start_matches('/'));
        let mode = container.get("HostConfig").and_then(|config| text(config, "NetworkMode"));
        if mode == Some("host") {
            on_host.push(name.clone());
        }
        for port in list(container, "Ports") {
            let number = port.get("PublicPort").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
            let address = text(port, "IP").and_then(|address| address.parse().ok());
            if let (Some(port), Some(address)) = (number.filter(|port| *port > 0), address) {
                published.push(Published { container: name.clone(), address, port });
            }
        }
    }
    on_host.sort();
    published.sort_by(|a, b| (&a.container, a.port, a.address).cmp(&(&b.container, b.port, b.address)));
    Some((published, on_host))
}
