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
    let (name, [v4, v6]) = (name(number), subnets(number));
    writeln!(text, "[[bridge]]\nname = \"{name}\"\nsubnets = [\"{v4}\", \"{v6}\"]\n")
        .expect("write to a string");
}

/// Its name.
pub(crate) fn name(number: usize) -> String {
    format!("br-{number:05}")
}

/// Its subnets, IPv4 first.
pub(crate) fn subnets(number: usize) -> [String; 2] {
    let (high, low) = (number / 256, number % 256);
    [format!("10.{high}.{low}.0/24"), format!("fd02:{number:x}::/64")]
}

/// For `ip -batch`: links with the names of such a topology, and the host's addresses on them.
///
/// The networks are macvlans, not bridges: the kernel takes 20 ms to delete a bridge, and seconds for a thousand of
/// these. Whoever lists links and addresses has the same to read.
pub(crate) fn links(bridges: usize) -> String {
    let mut text = String::new();
    let mut link = |name: &str, kind: &str, address: &str, address6: &str| {
        writeln!(
            text,
            "link add {kind}\naddress add {address} dev {name}\naddress add {address6} dev {name} nodad"
        )
        .expect("write to a string");
    };
    for number in 0..3 {
        let name = format!("eth{number}");
        let addresses = (format!("192.168.{number}.10/24"), format!("fd01:{number}::10/64"));
        link(&name, &format!("{name} type bridge"), &addresses.0, &addresses.1);
    }
    for number in 0..bridges {
        let (high, low) = (number / 256, number % 256);
        let name = format!("br-{number:05}");
        let kind = format!("link eth0 name {name} type macvlan");
        link(&name, &kind, &format!("10.{high}.{low}.1/24"), &format!("fd02:{number:x}::1/64"));
    }
    text
}

/// For `ip -batch`: these links taken away; macvlans go with the link that they are on.
pub(crate) const NO_LINKS: &str = "link delete eth0\nlink delete eth1\nlink delete eth2\n";
