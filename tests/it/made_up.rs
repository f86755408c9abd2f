//! A comparison that no lab has made: small, with every state that a cell can have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use isoplan::approach::Approach;
use isoplan::intent::IpFamily;
use isoplan::verify::change::Change;
use isoplan::verify::guarantee::{Guarantee, Hole};
use isoplan::verify::outcome::{Expected, Observation, Outcome, Sighting};
use isoplan::verify::probe::{Class, Probe, Sending, Transport};
use isoplan::verify::question::Question;
use isoplan::verify::report::{Claims, Comparison};
use isoplan::verify::world::Place;

const APPROACHES: [Approach; 4] = [Approach::None, Approach::Sysctl, Approach::Route, Approach::Nftables];

const CONTAINER: Place = Place(2);
const STORAGE: Place = Place(3);
const SERVICE: Place = Place(4);

/// What became of a probe, in a letter.
fn outcome(letter: char) -> Outcome {
    match letter {
        'a' => Outcome::Answered,
        'd' => Outcome::Delivered,
        'b' => Outcome::Blocked,
        _ => Outcome::CouldNotTest("no sentinel came within 5 s".to_owned()),
    }
}

struct Row {
    name: &'static str,
    question: Question,
    expected: Expected,
    is_answerable: bool,
    change: Option<Change>,
    /// A letter for each of [`APPROACHES`]: answered, delivered, blocked, could not test.
    outcomes: &'static str,
}

const fn row(name: &'static str, question: Question, outcomes: &'static str) -> Row {
    Row { name, question, expected: Expected::Blocked, is_answerable: true, change: None, outcomes }
}

fn rows() -> Vec<Row> {
    let after =
        |name, change, outcomes| Row { change: Some(change), ..row(name, Question::After(change), outcomes) };
    vec![
        row("docker0:eth1/udp4", Question::SendToGuarded, "adbb"),
        row("docker0:eth1/tcp4", Question::SendToGuarded, "adbb"),
        row("docker0:eth1/udp6", Question::SendToGuardedV6, "aaab"),
        Row { is_answerable: false, ..row("docker0:eth1/forged-bridge4", Question::ForgedSource, "dddb") },
        Row { is_answerable: false, ..row("docker0:eth1/gre4", Question::OddPackets, "db?b") },
        Row { is_answerable: false, ..row("docker0:eth1/fragments6", Question::OddPackets, "ddbb") },
        Row { is_answerable: false, ..row("docker0:eth1/double-tag4", Question::OddPackets, "bbbb") },
        row("docker0:host@eth1/tcp4", Question::HostAddress, "aaab"),
        row("eth1:docker0/tcp4", Question::FromGuarded, "?bbb"),
        Row { expected: Expected::Answered, ..row("docker0:eth0/udp4", Question::Works, "aaba") },
        Row { expected: Expected::Answered, ..row("docker0:eth0/tcp4", Question::Works, "aaaa") },
        after("docker0:eth1/udp4+nic-down", Change::NicDown, "adbb"),
        after("docker0:eth1/udp4+nic-recreated", Change::NicRecreated, "aabb"),
        Row { expected: Expected::Residual, ..after("docker0:eth1/udp4+macvlan", Change::Macvlan, "aaaa") },
    ]
}

/// The addresses of one family: of the container, of the storage server, and the host's own there.
fn addresses(family: IpFamily) -> [IpAddr; 3] {
    let texts = match family {
        IpFamily::V4 => ["172.17.0.2", "192.168.57.5", "192.168.57.10"],
        IpFamily::V6 => ["fd17::2", "fd57::5", "fd57::a"],
    };
    texts.map(|text| text.parse().expect("an address"))
}

fn probe(row: &Row) -> Probe {
    let family = if row.name.contains('6') { IpFamily::V6 } else { IpFamily::V4 };
    let pair = match row.name.split('/').next().unwrap_or_default() {
        "docker0:eth0" => "docker0 -> eth0 (service)",
        "docker0:host@eth1" => "docker0 -> host on eth1 (storage)",
        "eth1:docker0" => "eth1 (storage) -> docker0",
        _ => "docker0 -> eth1 (storage)",
    };
    let from_storage = row.name.starts_with("eth1:");
    let vantage = match pair {
        "docker0 -> eth0 (service)" => SERVICE,
        "docker0 -> host on eth1 (storage)" => Place::HOST,
        "eth1 (storage) -> docker0" => CONTAINER,
        _ => STORAGE,
    };
    // No two are alike but before and after a change.
    let base = row.name.split('+').next().unwrap_or_default();
    let port =
        9000 + rows().iter().position(|other| other.name == base).expect("one without the change") as u16;
    Probe {
        name: row.name.to_owned(),
        entry: "made-up",
        class: if row.expected == Expected::Blocked { Class::ToGuarded } else { Class::Control },
        pair: pair.to_owned(),
        threat: "A container reads and writes what the host keeps on <storage>.",
        question: row.question,
        family,
        sender: if from_storage { STORAGE } else { CONTAINER },
        sending: Sending::Socket { protocol: Transport::Udp, destination: addresses(family)[1], port },
        vantage: vec![vantage],
        is_answerable: row.is_answerable,
        expected: row.expected,
        change: row.change,
    }
}

fn observation(probe: &Probe, approach: Approach, outcome: Outcome) -> Observation {
    let [container, storage, host] = addresses(probe.family);
    let nodes = nodes();
    let sighting = Sighting {
        node: nodes[probe.vantage[0].0].clone(),
        // The bridge's traffic is masqueraded, but for the approach that does it by itself.
        source: if approach == Approach::Nftables || probe.question == Question::ForgedSource {
            container
        } else {
            host
        },
        destination: Some(storage),
        source_port: Some(40001),
        destination_port: Some(9000),
        after_us: 240,
    };
    let arrived = outcome.arrived();
    let is_unknown = matches!(outcome, Outcome::CouldNotTest(_));
    Observation {
        outcome,
        sent: if is_unknown { String::new() } else { format!("{container}:40001 -> {storage}:9000, UDP") },
        came_in: (!is_unknown).then(|| "docker0".to_owned()),
        left_by: if arrived { vec!["eth1".to_owned()] } else { Vec::new() },
        seen: if arrived { vec![sighting] } else { Vec::new() },
        decided_by: Vec::new(),
    }
}

fn nodes() -> Vec<String> {
    ["host", "wire", "docker0-c1", "eth1-server", "eth0-server"].map(str::to_owned).to_vec()
}

/// Claims of the same shape as the real ones, of every status.
const fn claims(approach: Approach) -> Claims {
    const CLOSED: Guarantee = Guarantee {
        says: "Nothing is forwarded to a closed network, IPv4 and IPv6, whatever the source.",
        probes: &["docker0:eth1/udp?", "docker0:eth1/tcp?", "docker0:eth1/forged-*"],
    };
    const AFTER: Guarantee = Guarantee {
        says: "It holds after a NIC was made again.",
        probes: &["*+nic-recreated", "*+nic-renamed"],
    };
    const ANSWERS: Guarantee =
        Guarantee { says: "Nothing comes from a closed network.", probes: &["eth1:docker0/*"] };
    const WORKS: Guarantee =
        Guarantee { says: "Containers reach the service network.", probes: &["docker0:eth0/*"] };
    match approach {
        Approach::Sysctl => Claims {
            guarantees: &[WORKS, ANSWERS],
            holes: &[
                Hole {
                    says: "Every packet that a container sends arrives at the closed network.",
                    why: "The kernel reads the key of the NIC that a packet came in on, and that is the bridge \
                          (ip_route_input_slow).",
                    probes: &["docker0:eth1/udp4", "docker0:eth1/tcp4", "docker0:eth1/forged-*"],
                },
                Hole {
                    says: "IPv6 is not stopped at all.",
                    why: "The per-interface key of IPv6 does not gate forwarding.",
                    probes: &["docker0:eth1/udp6"],
                },
                Hole {
                    says: "Writing ip_forward from 0 to 1 undoes it.",
                    why: "It rewrites the key of every interface (inet_forward_change).",
                    probes: &["*+forward-toggled"],
                },
            ],
        },
        Approach::Route => Claims {
            guarantees: &[WORKS],
            holes: &[Hole {
                says: "Packets with a forged source pass.",
                why: "The rules look at the source.",
                probes: &["docker0:eth1/forged-*"],
            }],
        },
        Approach::Nftables => Claims {
            guarantees: &[CLOSED, WORKS, AFTER, ANSWERS],
            holes: &[Hole {
                says: "A macvlan on a closed NIC.",
                why: "Its packets pass by every hook of the host.",
                probes: &["*+macvlan"],
            }],
        },
        _ => Claims { guarantees: &[], holes: &[] },
    }
}

/// With the approach that the topology is to have named.
pub(crate) fn comparison(chosen: Approach) -> Comparison {
    let rows = rows();
    let probes: Vec<Probe> = rows.iter().map(probe).collect();
    let observed = APPROACHES.iter().enumerate().map(|(column, approach)| {
        let seen = rows.iter().zip(&probes).map(|(row, probe)| {
            let letter = row.outcomes.chars().nth(column).expect("a letter for each approach");
            (probe.name.clone(), observation(probe, *approach, outcome(letter)))
        });
        (*approach, seen.collect::<BTreeMap<_, _>>())
    });
    Comparison {
        topology: "topology.toml".to_owned(),
        chosen,
        approaches: APPROACHES.to_vec(),
        left_out: vec![
            "docker0:eth1/udp4+forward-toggled".to_owned(),
            "docker0:eth1/udp4+nic-renamed".to_owned(),
        ],
        samples: vec![
            "The whole list of packets was sent to 3 closed NICs; 1 more got plain ones.".to_owned(),
        ],
        nodes: nodes(),
        host_addresses: IpFamily::BOTH.map(|family| addresses(family)[2]).into_iter().collect(),
        claims: APPROACHES.iter().map(|approach| (*approach, claims(*approach))).collect(),
        observed: observed.collect(),
        probes,
    }
}
