//! What Docker writes.

use super::{Family, Rules, network};

/// Docker 28's chains, with a network of each bridge, and its operator's two rules against the guarded NICs.
///
/// Docker alone keeps its networks apart from one another and lets them reach everything else, guarded NICs and
/// the host's addresses among it. Unlike isoplan it closes nothing of the host.
pub(crate) fn docker(bridges: usize, family: Family) -> Rules {
    let mut rules = Rules::default();
    rules.lines(
        "*filter
        :INPUT ACCEPT [0:0]
        :FORWARD DROP [0:0]
        :OUTPUT ACCEPT [0:0]
        :DOCKER - [0:0]
        :DOCKER-BRIDGE - [0:0]
        :DOCKER-CT - [0:0]
        :DOCKER-FORWARD - [0:0]
        :DOCKER-ISOLATION-STAGE-1 - [0:0]
        :DOCKER-ISOLATION-STAGE-2 - [0:0]
        :DOCKER-USER - [0:0]
        -A FORWARD -j DOCKER-USER
        -A FORWARD -j DOCKER-FORWARD
        -A DOCKER-USER -o eth1 -j DROP
        -A DOCKER-USER -o eth2 -j DROP
        -A DOCKER-FORWARD -j DOCKER-CT
        -A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
        -A DOCKER-FORWARD -j DOCKER-BRIDGE",
    );
    let filter: [fn(&str) -> String; 6] = [
        |name| format!("-A DOCKER ! -i {name} -o {name} -j DROP"),
        |name| format!("-A DOCKER-BRIDGE -o {name} -j DOCKER"),
        |name| format!("-A DOCKER-CT -o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        |name| format!("-A DOCKER-FORWARD -i {name} -j ACCEPT"),
        |name| format!("-A DOCKER-ISOLATION-STAGE-1 -i {name} ! -o {name} -j DOCKER-ISOLATION-STAGE-2"),
        |name| format!("-A DOCKER-ISOLATION-STAGE-2 -o {name} -j DROP"),
    ];
    for rule in filter {
        for number in 0..bridges {
            rules.rule(&rule(&network(number, family).0));
        }
    }
    let loopback = if family == Family::V4 { "127.0.0.0/8" } else { "::1/128" };
    rules.lines(&format!(
        "COMMIT
        *nat
        :PREROUTING ACCEPT [0:0]
        :INPUT ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        :POSTROUTING ACCEPT [0:0]
        :DOCKER - [0:0]
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
        -A OUTPUT ! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER"
    ));
    for number in 0..bridges {
        let (name, subnet) = network(number, family);
        rules.rule(&format!("-A POSTROUTING -s {subnet} ! -o {name} -j MASQUERADE"));
        rules.rule(&format!("-A DOCKER -i {name} -j RETURN"));
    }
    rules.line("COMMIT");
    rules
}
