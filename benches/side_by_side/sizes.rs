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

/// For `ip -batch`: the links of such a topology, with the host's addresses on them.
pub(crate) fn links(bridges: usize) -> String {
    let mut text = String::new();
    let mut link = |name: &str, address: &str, address6: &str| {
        writeln!(
            text,
            "link add {name} type bridge\naddress add {address} dev {name}\n\
             address add {address6} dev {name} nodad"
        )
        .expect("write to a string");
    };
    for number in 0..3 {
        link(&format!("eth{number}"), &format!("192.168.{number}.10/24"), &format!("fd01:{number}::10/64"));
    }
    for number in 0..bridges {
        let (high, low) = (number / 256, number % 256);
        link(&format!("br-{number:05}"), &format!("10.{high}.{low}.1/24"), &format!("fd02:{number:x}::1/64"));
    }
    text
}

/// For `ip -batch`: these links taken away.
pub(crate) fn no_links(bridges: usize) -> String {
    let nics = (0..3).map(|number| format!("link delete eth{number}\n"));
    nics.chain((0..bridges).map(|number| format!("link delete br-{number:05}\n"))).collect()
}
