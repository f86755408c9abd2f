//! Topologies of every size.

use std::fmt::Write as _;

/// A topology of that many bridges and three NICs, each with a subnet of either family.
pub(crate) fn topology(bridges: usize) -> String {
    let mut text = String::new();
    for (number, role) in ["service", "storage", "management"].into_iter().enumerate() {
        nic(&mut text, number, role);
    }
    for number in 0..bridges {
        bridge(&mut text, number);
    }
    text
}

fn nic(text: &mut String, number: usize, role: &str) {
    writeln!(
        text,
        "[[nic]]\nname = \"eth{number}\"\nrole = \"{role}\"\n\
         subnets = [\"192.168.{number}.0/24\", \"fd01:{number}::/64\"]\n"
    )
    .expect("write to a string");
}

/// One bridge of such a topology.
pub(crate) fn bridge(text: &mut String, number: usize) {
    let (high, low) = (number / 256, number % 256);
    writeln!(
        text,
        "[[bridge]]\nname = \"br-{number:05}\"\nsubnets = [\"10.{high}.{low}.0/24\", \"fd02:{number:x}::/64\"]\n"
    )
    .expect("write to a string");
}
