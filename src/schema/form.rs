//! What values of a topology look like, as patterns and conditions of JSON Schema.
//!
//! The patterns keep to what ECMAScript, Rust and Python read alike: no look-around, no classes of Unicode. A pattern
//! takes at least what the reader takes; addresses are only looked at from far away, because what is wrong with one
//! (bits behind the prefix, loopback, an overlap) no pattern can say.

use serde_json::{Value, json};

use crate::topology::limits::{RESERVED, ROLE_MAX};
use crate::topology::{ApproachName, IF_NAME_MAX, Protocol};

/// What names of interfaces are made of.
const NAME: &str = "[A-Za-z0-9._@-]";
/// What roles are made of, but for the first one, which is a letter.
const ROLE: &str = "[A-Za-z0-9_-]";
/// An octet without leading zeros.
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
/// Digits and colons, with at least one colon; an IPv4 address may be at the end.
const IPV6: &str = "[0-9A-Fa-f]*:[0-9A-Fa-f:.]*";

/// A port, or two with a hyphen in between; zeros in front are taken.
pub(super) const PORTS: &str = "^0*[1-9][0-9]{0,4}(?:-0*[1-9][0-9]{0,4})?$";
/// No control character (`char::is_control`, Unicode's Cc).
pub(super) const ONE_LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

/// The name of one interface.
pub(super) fn name() -> String {
    format!("^{NAME}{{1,{IF_NAME_MAX}}}$")
}

/// Names that mean something else in rules and in sysctl paths.
pub(super) fn no_name() -> Value {
    json!({"enum": RESERVED})
}

/// The name of one interface, or of all that start alike.
pub(super) fn pattern() -> String {
    format!("^(?:{NAME}{{1,{IF_NAME_MAX}}}|{NAME}{{1,{}}}\\*)$", IF_NAME_MAX - 1)
}

/// The same names, as patterns as well, and the one pattern that matches the loopback interface.
pub(super) fn no_pattern() -> Value {
    let mut names: Vec<String> = RESERVED.map(str::to_owned).into();
    names.extend(RESERVED.map(|name| format!("{name}*")));
    names.push("l*".to_owned());
    json!({"enum": names})
}

pub(super) fn role() -> String {
    format!("^[A-Za-z]{ROLE}{{0,{}}}$", ROLE_MAX - 1)
}

/// What can be reached: every role is made like a name.
pub(super) fn role_or_pattern() -> String {
    pattern()
}

fn ipv4() -> String {
    format!("{OCTET}(?:\\.{OCTET}){{3}}")
}

/// A network with the length of its prefix, which is not 0.
pub(super) fn subnet() -> String {
    format!("^(?:{}/{V4_LENGTH}|{IPV6}/{V6_LENGTH})$", ipv4())
}

const V4_LENGTH: &str = "(?:3[0-2]|[12]?[1-9]|[12]0)";
const V6_LENGTH: &str = "(?:12[0-8]|1[01][0-9]|[1-9][0-9]?)";

pub(super) fn address() -> String {
    format!("^(?:{}|{IPV6})$", ipv4())
}

/// An address or a network.
pub(super) fn target() -> String {
    format!("^(?:{}(?:/{V4_LENGTH})?|{IPV6}(?:/{V6_LENGTH})?)$", ipv4())
}

/// A file of the sysctl approach.
pub(super) fn has_sysctl() -> Value {
    let approach = json!({"required": ["approach"], "properties": {"approach": {"const": ApproachName::Sysctl.as_str()}}});
    json!({"required": ["isolation"], "properties": {"isolation": approach}})
}

/// Sysctls know no addresses, protocols or ports, and translate nothing.
pub(super) fn of_sysctl() -> Value {
    json!({"properties": {
        "allow": {"maxItems": 0},
        "nic": {"items": {"properties": {"masquerade": {"const": false}, "snat": false}}},
        "isolation": {"properties": {"masquerade": {"const": false}}},
    }})
}

/// `masquerade` and `snat` in one NIC.
pub(super) fn two_translations() -> Value {
    json!({"required": ["masquerade", "snat"], "properties": {"masquerade": {"const": true}}})
}

/// A NIC whose traffic is translated.
pub(super) fn translates() -> Value {
    let masquerades = json!({"required": ["masquerade"], "properties": {"masquerade": {"const": true}}});
    json!({"anyOf": [{"required": ["snat"]}, masquerades]})
}

/// A NIC that reaches somebody.
pub(super) fn reaches() -> Value {
    json!({"required": ["reach"], "properties": {"reach": {"minItems": 1}}})
}

/// An exception for a protocol that has ports.
pub(super) fn with_ports() -> Value {
    let words: Vec<&str> = Protocol::WORDS
        .into_iter()
        .filter(|(protocol, _)| protocol.has_ports())
        .map(|(_, word)| word)
        .collect();
    json!({"required": ["protocol"], "properties": {"protocol": {"enum": words}}})
}
