//! The rules of dockerd 20.10 to 27 for bridge networks without published ports, as `iptables-save` shows them.
//!
//! dockerd puts those of a new network before those of older ones, which makes its first network the last in each
//! chain. The numbers here are places in the chains.

use std::fmt::Write as _;

pub(super) fn rules(networks: usize) -> String {
    let mut text =
        String::from("*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    text += ":POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n";
    text += "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n";
    text += "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n";
    for number in 0..networks {
        let (high, low) = (number / 256, number % 256);
        say(&mut text, &format!("-A POSTROUTING -s 10.{high}.{low}.0/24 ! -o br-{number:05} -j MASQUERADE"));
    }
    for number in 0..networks {
        say(&mut text, &format!("-A DOCKER -i br-{number:05} -j RETURN"));
    }
    text +=
        "COMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n";
    text += ":DOCKER-ISOLATION-STAGE-1 - [0:0]\n:DOCKER-ISOLATION-STAGE-2 - [0:0]\n:DOCKER-USER - [0:0]\n";
    text += "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n";
    for number in 0..networks {
        let bridge = format!("br-{number:05}");
        say(
            &mut text,
            &format!(
                "-A FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
                 -A FORWARD -o {bridge} -j DOCKER\n\
                 -A FORWARD -i {bridge} ! -o {bridge} -j ACCEPT\n\
                 -A FORWARD -i {bridge} -o {bridge} -j ACCEPT"
            ),
        );
    }
    for number in 0..networks {
        let rule = "-A DOCKER-ISOLATION-STAGE-1";
        say(&mut text, &format!("{rule} -i br-{number:05} ! -o br-{number:05} -j DOCKER-ISOLATION-STAGE-2"));
    }
    for number in 0..networks {
        say(&mut text, &format!("-A DOCKER-ISOLATION-STAGE-2 -o br-{number:05} -j DROP"));
    }
    for chain in ["DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER"] {
        say(&mut text, &format!("-A {chain} -j RETURN"));
    }
    text + "COMMIT\n"
}

fn say(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("write to a string");
}
