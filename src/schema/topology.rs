//! The topology file as types, for its schema: what each table may have, key by key.
//!
//! The file itself is read by [`crate::topology`], which knows where every value stands and says what is wrong with
//! it in its own words. What a schema can say is said here a second time, from the reader's own limits and words;
//! tests hold the two together. Whatever the reader takes, the schema takes.
//!
//! The doc comments are what an editor shows.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::form;
use crate::topology::limits::{REASON_MAX, VNI_MAX, VXLAN_PORT};
use crate::topology::{ApproachName, Inbound, Protocol, Role};

/// What a container host has: bridges that hold containers, NICs with what each is for, and exceptions. isoplan works
/// out from it what must not talk to what. The order of the tables has no effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["nic"]}, {"required": ["bridge"]}, {"required": ["overlay"]}]))]
#[schemars(extend("if" = form::has_sysctl(), "then" = form::of_sysctl()))]
pub struct File {
    /// A network of containers that this host routes: a Linux bridge, or all whose names start alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridge: Vec<Bridge>,
    /// A network of containers over VXLAN: the VXLAN device, or the bridge that it is a port of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlay: Vec<Overlay>,
    /// Instances bridged onto the subnet of a NIC: the NIC is a port of the bridge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flat: Vec<Flat>,
    /// A network interface of the host, and the networks behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nic: Vec<Nic>,
    /// An exception: it lets through what would be dropped, as narrow as it is written. Answers come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allow>,
    /// How the topology is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Isolation")]
    pub isolation: Option<Isolation>,
}

/// A network of containers that this host routes: a Linux bridge, or all whose names start alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Bridge {
    /// The name of the interface, 1 to 15 bytes; or with a `*` at its end, such as `br-*`, every interface whose name
    /// starts like that, also those that come later.
    #[schemars(regex(pattern = form::pattern()), extend("not" = form::no_pattern()))]
    #[schemars(extend("examples" = ["docker0", "br-*"]))]
    pub name: String,
    /// The addresses of the containers, such as `172.17.0.0/16` or `fd17::/64`. A bridge without them is closed by its
    /// name, has no exceptions and no IPv6 forwarding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = form::subnet())), extend("uniqueItems" = true))]
    #[schemars(extend("examples" = [["172.17.0.0/16", "fd17::/64"]]))]
    pub subnets: Vec<String>,
    /// Whom containers may open connections to: roles of NICs, and names of bridges and overlays as their own entries
    /// write them. What is not in the list is dropped. `[]` reaches nobody. Default: `["service"]`.
    #[serde(default = "service")]
    #[schemars(schema_with = "reach")]
    pub reach: Vec<String>,
    /// Which new connections come in from the NICs that it reaches. Default: `"published"`.
    #[serde(default = "published")]
    pub inbound: Inbound,
}

/// A network of containers over VXLAN: the VXLAN device, or the bridge that it is a port of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Overlay {
    /// The name of the interface, 1 to 15 bytes; or with a `*` at its end every interface whose name starts like that.
    #[schemars(regex(pattern = form::pattern()), extend("not" = form::no_pattern()))]
    #[schemars(extend("examples" = ["vx42"]))]
    pub name: String,
    /// The name of the NIC of this file that carries the encapsulated packets.
    #[schemars(regex(pattern = form::name()), extend("not" = form::no_name()))]
    #[schemars(extend("examples" = ["eth0"]))]
    pub underlay: String,
    /// The VXLAN network identifier: 24 bits, not 0.
    #[schemars(range(min = 1, max = VNI_MAX))]
    pub vni: u32,
    /// The UDP port of the encapsulation. Default: 4789, which IANA assigned to VXLAN.
    #[serde(default = "vxlan_port")]
    #[schemars(range(min = 1, max = u16::MAX))]
    pub port: u16,
    /// The addresses of the instances, such as `10.42.0.0/16`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = form::subnet())), extend("uniqueItems" = true))]
    #[schemars(extend("examples" = [["10.42.0.0/16"]]))]
    pub subnets: Vec<String>,
    /// Whom instances may open connections to: roles of NICs, and names of bridges and overlays as their own entries
    /// write them. Default: `["service"]`.
    #[serde(default = "service")]
    #[schemars(schema_with = "reach")]
    pub reach: Vec<String>,
    /// Which new connections come in from the NICs that it reaches. Default: `"published"`.
    #[serde(default = "published")]
    pub inbound: Inbound,
}

/// Instances bridged onto the subnet of a NIC: the NIC is a port of the bridge. It is guarded in the bridge family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Flat {
    /// The name of the bridge, 1 to 15 bytes, no pattern.
    #[schemars(regex(pattern = form::name()), extend("not" = form::no_name()))]
    #[schemars(extend("examples" = ["br-ex"]))]
    pub name: String,
    /// The name of the NIC of this file that is its port. A NIC has at most one flat.
    #[schemars(regex(pattern = form::name()), extend("not" = form::no_name()))]
    #[schemars(extend("examples" = ["eth0"]))]
    pub nic: String,
    /// Roles of the NICs whose networks the instances may reach. Default: `["service"]`.
    #[serde(default = "service")]
    #[schemars(schema_with = "reach_roles")]
    pub reach: Vec<String>,
}

/// A network interface of the host, and the networks behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("not" = form::two_translations()))]
#[schemars(extend("if" = form::translates(), "then" = form::reaches()))]
pub struct Nic {
    /// The name of the interface, 1 to 15 bytes, no pattern.
    #[schemars(regex(pattern = form::name()), extend("not" = form::no_name()))]
    #[schemars(extend("examples" = ["eth0"]))]
    pub name: String,
    /// What it is for: `service`, `storage`, `management` or a word of your own, 1 to 15 of a to z, A to Z, 0 to 9, `-`
    /// and `_`, the first one a letter. Bridges reach the role `service` unless they say otherwise.
    #[schemars(schema_with = "role")]
    pub role: String,
    /// The networks on the link and those that are routed behind it, such as `192.168.56.0/24` or `fd56::/64`. They may
    /// be left out only where nothing of the file is kept away from this NIC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = form::subnet())), extend("uniqueItems" = true))]
    #[schemars(extend("examples" = [["192.168.56.0/24", "fd56::/64"]]))]
    pub subnets: Vec<String>,
    /// Whom hosts behind this NIC may open connections to: then this host is a router between NICs. Default: `[]`.
    #[serde(default)]
    #[schemars(schema_with = "reach")]
    pub reach: Vec<String>,
    /// What this NIC reaches by other NICs gets the address of the NIC by which it leaves. Needs `reach`. Default:
    /// `false`.
    #[serde(default)]
    pub masquerade: bool,
    /// What this NIC reaches by other NICs gets this address: one, or a list of one IPv4 and one IPv6 address. Needs
    /// `reach`, and not together with `masquerade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Snat")]
    #[schemars(extend("examples" = ["203.0.113.5", ["203.0.113.5", "2001:db8::5"]]))]
    pub snat: Option<Snat>,
}

/// An exception: it lets through what would be dropped, as narrow as it is written. Answers come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("if" = {"required": ["ports"]}, "then" = form::with_ports()))]
pub struct Allow {
    /// Who sends: the name of a bridge, an overlay or a NIC, as its own entry writes it. Only with a source in its
    /// `subnets`.
    #[schemars(regex(pattern = form::pattern()), extend("not" = form::no_pattern()))]
    #[schemars(extend("examples" = ["docker0"]))]
    pub from: String,
    /// To whom: an address, or a network, within one subnet of another entry. Not a name, and no port.
    #[schemars(regex(pattern = form::target()))]
    #[schemars(extend("examples" = ["192.168.57.9", "192.168.57.8/29", "fd57::9"]))]
    pub to: String,
    /// The protocol; all where it is left out. `icmp` is for IPv4 and `icmpv6` for IPv6; they have no ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Protocol")]
    pub protocol: Option<Protocol>,
    /// Ports, and ranges of ports in quotes; all where it is left out. Needs `protocol` to be `tcp`, `udp` or `sctp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("uniqueItems" = true, "examples" = [[2049], [443, "8000-8010"]]))]
    pub ports: Vec<Port>,
    /// Why it is there, for readers; at most 200 characters, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = REASON_MAX), regex(pattern = form::ONE_LINE))]
    #[schemars(extend("examples" = ["NFS gateway"]))]
    pub reason: Option<String>,
}

/// How the topology is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Isolation {
    /// How packets are stopped. Default: `"nftables"`.
    #[serde(default = "nftables")]
    pub approach: ApproachName,
    /// Whether isoplan masquerades what leaves the bridges and overlays. Default: `true`; with approach `sysctl`, which
    /// translates nothing, `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub masquerade: Option<bool>,
}

/// One of the `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Port {
    /// A single one.
    One(u16),
    /// `8000-8010`.
    Range(String),
}

// Written out, because `anyOf` would hide from a reader of an error what is wrong: the words for numbers and for
// strings can stand beside each other.
impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port from 1 to 65535, or a range in quotes, such as \"8000-8010\".",
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": u16::MAX,
            "pattern": form::PORTS,
        })
    }
}

/// The addresses to translate to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Snat {
    /// One.
    One(String),
    /// At most one for each family.
    Both(Vec<String>),
}

impl JsonSchema for Snat {
    fn schema_name() -> Cow<'static, str> {
        "Snat".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "pattern": form::address(),
            "items": {"type": "string", "pattern": form::address()},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": true,
        })
    }
}

/// Words that a value may have among others. It takes everything, so that an editor offers the words and refuses none.
fn among(words: &[&str], description: &str) -> serde_json::Value {
    serde_json::json!([{"description": description, "enum": words}, true])
}

fn role(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": form::role(),
        "anyOf": among(&Role::KNOWN, "What the NIC is for; a word of your own is right as well."),
    })
}

fn reach(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "description": "A role, or the name of a bridge or overlay as its own entry writes it.",
            "type": "string",
            "pattern": form::role_or_pattern(),
            "anyOf": among(&Role::KNOWN, "The NICs of this role; a role of your own, a bridge or an overlay is right as well."),
        },
        "uniqueItems": true,
    })
}

fn reach_roles(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "description": "A role.",
            "type": "string",
            "pattern": form::role(),
            "anyOf": among(&Role::KNOWN, "The NICs of this role; a role of your own is right as well."),
        },
        "uniqueItems": true,
    })
}

fn service() -> Vec<String> {
    vec![Role::SERVICE.to_owned()]
}

const fn published() -> Inbound {
    Inbound::Published
}

const fn vxlan_port() -> u16 {
    VXLAN_PORT
}

const fn nftables() -> ApproachName {
    ApproachName::Nftables
}
