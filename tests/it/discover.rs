//! `isoplan discover`: drafts of hosts that are known.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use isoplan::intent::{Intent, IpFamily, Party, Way};
use isoplan::topology::{ApproachName, Inbound, Reach, Role, Topology, parse};
use serde_json::Value;

use crate::ISOPLAN;
use crate::lab::node::PATH;
use crate::lab::{Program, in_namespace};

/// Runs `isoplan discover --json` on the host of a lab.
fn discovered(fixture: &Path) -> Value {
    let output = Command::new(ISOPLAN)
        .arg("lab")
        .arg(fixture)
        .args(["--", ISOPLAN, "discover", "--json"])
        .env_clear()
        .env("PATH", PATH)
        .output()
        .expect("isoplan starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", fixture.display());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A file that says nothing but what there is: no reach, no exception. The NIC of the lab's default route, as the
/// draft found it, is the one of service.
fn with_defaults(mut topology: Topology, service: &str) -> Topology {
    let role = Role(Role::SERVICE.to_owned());
    for nic in &mut topology.nics {
        nic.reach.clear();
        if nic.name.as_str() == service {
            nic.role = role.clone();
        } else if nic.role == role {
            nic.role = Role("other".to_owned());
        }
    }
    for network in &mut topology.networks {
        network.reach = vec![Reach::Role(role.clone())];
        network.inbound = Inbound::Published;
    }
    for flat in &mut topology.flats {
        flat.reach = vec![role.clone()];
    }
    topology.allows.clear();
    topology
}

/// How much a way lets through, of what a default can say.
fn width(way: Way) -> u8 {
    match way {
        Way::Blocked => 0,
        Way::Answers => 1,
        Way::Published => 2,
        Way::Open => 3,
        other => panic!("a file of defaults has no {other:?}"),
    }
}

fn parties(topology: &Topology) -> Vec<(String, Party)> {
    let networks =
        topology.networks.iter().enumerate().map(|(n, net)| (net.name.to_string(), Party::Network(n)));
    let flats = topology.flats.iter().enumerate().map(|(n, flat)| (flat.name.to_string(), Party::Flat(n)));
    let nics = topology.nics.iter().enumerate().flat_map(|(n, nic)| {
        [(nic.name.to_string(), Party::Nic(n)), (format!("host on {}", nic.name), Party::HostOn(n))]
    });
    networks.chain(flats).chain(nics).collect()
}

#[test]
fn a_draft_of_every_fixture_is_right_and_not_wider_than_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut fixtures: Vec<_> = fs::read_dir(root)
        .expect("list fixtures")
        .map(|entry| entry.expect("list fixtures").path().join("topology.toml"))
        .filter(|path| path.is_file())
        .collect();
    fixtures.sort();
    let mut equal = 0;
    for fixture in &fixtures {
        let said = discovered(fixture);
        let name = fixture.display();
        let text = said["draft"].as_str().expect("the draft");
        let draft = parse("draft.toml", text.as_bytes())
            .unwrap_or_else(|refused| panic!("{name}:\n{}\n{text}", refused.render(false, 120)));
        let fixture = parse("fixture", &fs::read(fixture).expect("read a fixture")).expect("a fixture");
        let service = draft.nics.iter().find(|nic| nic.role.0 == Role::SERVICE).expect("a default route");
        let known = with_defaults(fixture, service.name.as_str());
        let (found, known) = (Intent::new(&draft), Intent::new(&known));
        assert!(draft.isolation.approach == ApproachName::Nftables);
        let theirs = parties(known.topology);
        let mut same = true;
        for (from, a) in parties(&draft) {
            for (to, b) in parties(&draft) {
                // Of a pattern the lab has some bridges, each with a name of its own.
                let of = |name: &str| {
                    let covers = |other: &str| {
                        name == other || other.strip_suffix('*').is_some_and(|stem| name.starts_with(stem))
                    };
                    let exact = theirs.iter().find(|(other, _)| other == name);
                    exact.or_else(|| theirs.iter().find(|(other, _)| covers(other))).map(|(_, party)| *party)
                };
                let (Some(c), Some(d)) = (of(&from), of(&to)) else {
                    panic!("{name}: {from} or {to} is new")
                };
                if from != to && c == d {
                    continue;
                }
                for family in IpFamily::BOTH {
                    let (draft, known) = (found.way(a, b, family), known.way(c, d, family));
                    let (Some(draft), Some(known)) = (draft, known) else { continue };
                    assert!(
                        width(draft) <= width(known),
                        "{name}: {from} to {to} is {}, and {} in the fixture\n{text}",
                        draft.as_str(),
                        known.as_str()
                    );
                    same &= draft == known;
                }
            }
        }
        equal += usize::from(same);
        // Nothing of the fixture is missing.
        for nic in &known.topology.nics {
            assert!(draft.nics.iter().any(|other| other.name == nic.name), "{name}: no {}\n{text}", nic.name);
        }
    }
    assert!(equal + 1 >= fixtures.len(), "{equal} of {} drafts mean the same", fixtures.len());
}

/// A host with three links, and isoplan there.
fn host() -> Program {
    let lines = "link set lo up
        link add eth0 type veth peer name far0
        link add eth1 type veth peer name far1
        link add docker0 type bridge
        address add 192.168.56.10/24 dev eth0
        address add 192.168.57.10/24 dev eth1
        address add 172.17.0.1/16 dev docker0
        link set eth0 up
        link set far0 up
        route add default via 192.168.56.1";
    for line in lines.lines() {
        let done = Command::new("ip").args(line.split_whitespace()).status().expect("ip starts");
        assert!(done.success(), "ip {line}");
    }
    Program::new(ISOPLAN).expect("make a directory for the program")
}

#[test]
fn a_file_is_written_whole_and_never_over_another() {
    in_namespace(|| {
        let isoplan = host();
        let first = isoplan.run(&["discover", "-o", "draft.toml"]);
        assert_eq!(first.code, Some(0), "{first}");
        assert_eq!(first.stdout, "");
        assert_eq!(isoplan.run(&["check", "draft.toml"]).code, Some(0));
        let text = isoplan.run(&["discover"]).ok();
        assert_eq!(isoplan.run(&["discover"]).ok(), text, "another draft of the same host");
        let read = |name: &str| fs::read_to_string(isoplan.directory().join(name)).expect("read a file");
        isoplan.write("mine.toml", "mine").expect("write");
        let refused = isoplan.run(&["discover", "-o", "mine.toml"]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains("mine.toml exists"), "{refused}");
        assert_eq!(read("mine.toml"), "mine");
        isoplan.run(&["discover", "-o", "mine.toml", "--force"]).ok();
        assert_eq!(read("mine.toml"), text);
        // What is applied from it closes what nothing tells of.
        isoplan.run(&["apply", "draft.toml", "--yes"]).ok();
        assert_eq!(isoplan.run(&["status", "draft.toml"]).code, Some(0));
    });
}

/// How a socket answers.
#[derive(Clone, Copy)]
enum Answer {
    Json(fn(&str) -> &'static str),
    Bytes(&'static [u8]),
    /// Not at all, and not the end of it either.
    Silence,
}

/// Serves a Unix socket as long as the process lives.
fn serve(path: &Path, answer: Answer) {
    let listener = UnixListener::bind(path).expect("bind a Unix socket");
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).expect("read a request");
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            match answer {
                Answer::Json(body) => {
                    let body = body(&path);
                    let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
                }
                Answer::Bytes(bytes) => drop(stream.write_all(bytes)),
                Answer::Silence => kept.push(stream),
            }
        }
    });
}

const NETWORKS: &str = r#"[
  {"Name": "bridge", "Id": "0000000000000000", "Driver": "bridge", "Internal": false,
   "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]},
   "Options": {"com.docker.network.bridge.name": "docker0"}},
  {"Name": "back", "Id": "00112233445566778899", "Driver": "bridge", "Internal": true,
   "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}, "Options": {}},
  {"Name": "lan", "Id": "112233445566778899", "Driver": "macvlan", "Internal": false,
   "IPAM": {"Config": []}, "Options": {"parent": "eth1"}},
  {"Name": "host", "Id": "2", "Driver": "host", "IPAM": {"Config": null}}
]"#;
const CONTAINERS: &str = r#"[
  {"Names": ["/web"], "HostConfig": {"NetworkMode": "bridge"},
   "Ports": [{"IP": "192.168.57.10", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]},
  {"Names": ["/agent"], "HostConfig": {"NetworkMode": "host"}, "Ports": []}
]"#;

#[test]
fn what_engines_say_is_used_and_what_they_do_not_is_told() {
    in_namespace(|| {
        let isoplan = host();
        let directory = tempfile::tempdir_in("/run").expect("make a directory");
        let run = |socket: &Path| {
            let mut command = isoplan.command(&["discover", "--json"]);
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
            command.env("CONTAINER_HOST", "tcp://elsewhere:1");
            let output = command.output().expect("isoplan starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
        };
        let has = |value: &Value, key: &str, part: &str| {
            let list = value[key].as_array().expect("a list");
            list.iter().any(|line| line.as_str().is_some_and(|line| line.contains(part)))
        };
        let good = directory.path().join("good");
        serve(&good, Answer::Json(|path| if path == "/networks" { NETWORKS } else { CONTAINERS }));
        let said = run(&good);
        let draft =
            parse("draft", said["draft"].as_str().expect("a draft").as_bytes()).expect("a valid draft");
        let back =
            draft.networks.iter().find(|net| net.name.stem() == "br-001122334455").expect("a bridge to come");
        assert!(back.reach.is_empty(), "an internal network");
        assert!(has(&said, "remarks", "network lan is a macvlan on eth1"), "{said}");
        assert!(has(&said, "remarks", "beyond every rule: agent"), "{said}");
        assert!(has(&said, "remarks", "web has published port 8080 on eth1"), "{said}");
        assert!(has(&said, "unseen", "CONTAINER_HOST"), "{said}");
        assert!(!has(&said, "unseen", "Docker"), "{said}");
        crate::docs::check_json("isoplan discover --json", "discover", &[said], &[]);

        let bad = [
            ("html", Answer::Bytes(b"HTTP/1.1 404 Not Found\r\n\r\n<html>"), "404"),
            ("garbage", Answer::Bytes(b"\xff\xfe\0 nonsense"), "no answer of HTTP"),
            ("json", Answer::Bytes(b"HTTP/1.0 200 OK\r\n\r\n{\"a\": 1}"), "not what it should be"),
            ("silence", Answer::Silence, "timed out"),
        ];
        for (name, answer, part) in bad {
            let socket = directory.path().join(name);
            serve(&socket, answer);
            let said = run(&socket);
            assert!(
                has(&said, "unseen", "Docker's networks") && has(&said, "unseen", part),
                "{name}: {said}"
            );
        }
        let nobody = directory.path().join("nobody");
        assert!(!has(&run(&nobody), "unseen", "Docker"), "no engine is nothing to tell");
    });
}

#[test]
fn without_privilege_it_says_what_it_could_not_see() {
    in_namespace(|| {
        let isoplan = host();
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", ISOPLAN, "discover"]);
        let output = command.env_clear().env("PATH", PATH).output().expect("setpriv starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("Not seen:") && stderr.contains("that needs root"), "{stderr}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), isoplan.run(&["discover"]).ok());
    });
}
