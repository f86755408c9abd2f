//! What a bot posts: the meaning of a change as Markdown, whoever wrote the files.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use isoplan::diff::LiveState;
use isoplan::flows::pairs::pair_changes;
use isoplan::intent::{Intent, IpFamily, Party, Way};
use isoplan::meaning::{Comparison, EACH_OTHER};
use isoplan::plan::Plan;
use isoplan::render::review;
use isoplan::topology::{self, Topology};
use proptest::prelude::*;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

use crate::lab::node::Node;
use crate::lab::{Program, in_namespace};
use crate::laws::law_with;
use crate::{ISOPLAN, draw, has_namespace_of_its_own};

/// What GitHub takes.
const GITHUB: usize = 65_536;

fn parse(text: &str) -> Topology {
    topology::parse("topology.toml", text.as_bytes())
        .unwrap_or_else(|refused| panic!("{}\n{text}", refused.render(false, 100)))
}

fn diff(old: &Topology, new: &Topology, all: bool) -> String {
    review::diff(&Comparison::new(&Intent::new(old), &Intent::new(new)), old, new, all)
}

/// What a reader is shown, as a CommonMark parser with every extension sees it.
#[derive(Default)]
struct Seen {
    /// Text that is neither in a code span nor in a fence.
    prose: String,
    /// Code spans and fences.
    code: String,
    headings: usize,
}

/// Reads it as a forge would; panics on anything that isoplan does not write itself.
#[track_caller]
fn read(markdown: &str) -> Seen {
    assert!(markdown.len() < GITHUB, "{} bytes", markdown.len());
    let (first, _) = markdown.split_once('\n').expect("lines");
    assert!(first.starts_with("<!-- isoplan ") && first.ends_with(" -->"), "{first}");
    assert_eq!(first.matches("--").count(), 2, "{first}");
    let mut seen = Seen::default();
    let mut is_in_code = false;
    for event in Parser::new_ext(markdown, Options::all()) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let CodeBlockKind::Fenced(language) = kind else { panic!("indented code:\n{markdown}") };
                assert_eq!(&*language, "diff");
                is_in_code = true;
            }
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => is_in_code = false,
            Event::Start(Tag::Heading { .. }) => seen.headings += 1,
            Event::Start(
                Tag::Paragraph
                | Tag::List(None)
                | Tag::Item
                | Tag::Strong
                | Tag::Table(_)
                | Tag::TableHead
                | Tag::TableRow
                | Tag::TableCell
                | Tag::HtmlBlock,
            )
            | Event::End(_)
            | Event::SoftBreak => seen.prose.push('\n'),
            Event::Start(other) => panic!("{other:?} in\n{markdown}"),
            Event::Text(text) if is_in_code => seen.code.push_str(&text),
            Event::Text(text) => seen.prose.push_str(&text),
            Event::Code(text) => {
                seen.code.push_str(&text);
                seen.code.push('\n');
            }
            Event::Html(html) => {
                let html = html.trim();
                let is_ours = ["<details>", "</details>"].contains(&html)
                    || html == first
                    || (html.starts_with("<summary>") && html.ends_with("</summary>"));
                assert!(is_ours && html.matches('<').count() <= 2, "HTML: {html}");
            }
            other => panic!("{other:?} in\n{markdown}"),
        }
    }
    for strange in ['@', '<', '>', '`', '#', '|'] {
        assert!(!seen.prose.contains(strange), "{strange} in the prose:\n{}", seen.prose);
    }
    // Commands of GitLab and of bots stand at the start of a line, in code as well.
    for line in markdown.lines() {
        assert!(!line.trim_start().starts_with('/'), "{line}");
    }
    seen
}

fn fixtures() -> Vec<PathBuf> {
    let all = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).expect("list the fixtures");
    let mut all: Vec<_> = all.map(|entry| entry.expect("list").path().join("topology.toml")).collect();
    all.retain(|path| path.is_file());
    all.sort();
    all
}

#[test]
fn every_pair_of_fixtures() {
    let topologies: Vec<_> =
        fixtures().iter().map(|path| parse(&fs::read_to_string(path).expect("read a fixture"))).collect();
    assert!(topologies.len() > 8);
    for old in &topologies {
        for new in &topologies {
            let comparison = Comparison::new(&Intent::new(old), &Intent::new(new));
            let text = review::diff(&comparison, old, new, false);
            let seen = read(&text);
            assert_eq!(seen.headings, 1, "{text}");
            let opens = comparison.meaning.ways.iter().any(isoplan::meaning::WayChange::opens);
            // Exceptions can open where no way does.
            let more = comparison.more_exceptions > 0;
            assert_eq!(text.contains("**opens ways of "), opens || more, "{text}");
            assert_eq!(text.contains("\n**Opens**\n"), opens, "{text}");
            if !opens && !more && !comparison.is_empty() {
                let says =
                    if comparison.loosened.rules { " **takes every rule away**" } else { " opens nothing, " };
                assert!(text.contains(says), "{text}");
            }
        }
        let nothing = LiveState::default();
        let plan = Plan::new(old, &nothing);
        let seen = review::Seen { host: Some("web1"), words: Some("Against a snapshot: host web1") };
        read(&review::plan(&plan, &nothing, seen, true));
    }
}

/// A name may begin with an `@`, and hold `_`; a reason may hold anything but control characters.
#[test]
fn nothing_that_a_file_says_is_markdown() {
    let reasons = [
        "</details><script>alert(1)</script>",
        "@octocat please `look` | at **this** [link](https://example.org) ![x](https://example.org/x.png)",
        "``` ~~~ # a",
        "--> <!-- <img src=x onerror=alert(1)> &lt; &#64;all",
        "/close",
        "[[x]] $x$ :+1: #1 !2 ~bug %1 www.example.org a@example.org",
        "\\` \\",
        "`",
    ];
    let file = |reasons: &[&str]| {
        let mut text = "[[bridge]]\nname = \"@octo_cat_\"\nsubnets = [\"172.17.0.0/16\"]\n\
            [[bridge]]\nname = \"-_-\"\nsubnets = [\"172.18.0.0/16\"]\n\
            [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\
            [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n"
            .to_owned();
        for (number, reason) in reasons.iter().enumerate() {
            let reason = reason.replace('\\', "\\\\").replace('"', "\\\"");
            write!(
                text,
                "[[allow]]\nfrom = \"@octo_cat_\"\nto = \"192.168.57.9\"\nprotocol = \"tcp\"\nports = [{}]\n\
                 reason = \"{reason}\"\n",
                number + 1
            )
            .expect("write to a string");
        }
        text
    };
    let old = parse(&file(&[]));
    for name in
        ["topology.toml", "a|b`c`\n# d\n<b>@octocat --> \u{202e}.toml", "-->", "/close", "`", "\n\n- a"]
    {
        let new = topology::parse(name, file(&reasons).as_bytes()).expect("a right file");
        for (old, new) in [(&old, &new), (&new, &old)] {
            let text = diff(old, new, true);
            let seen = read(&text);
            assert!(!text.contains('\u{202e}') && text.lines().all(|line| line != "# d"), "{text}");
            assert!(seen.code.contains("@octo_cat_"), "{text}");
            for reason in reasons {
                assert!(seen.code.contains(reason), "{reason} in\n{text}");
            }
        }
        let nothing = LiveState::default();
        let words = "Against a snapshot: host @all <b>, Linux `6`";
        let seen = review::Seen { host: Some("@all --> <b>\n# x"), words: Some(words) };
        read(&review::plan(&Plan::new(&new, &nothing), &nothing, seen, true));
    }
}

/// What others wrote into isoplan's table ends no fence.
#[test]
fn nothing_that_a_host_says_is_markdown() {
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        let old = fs::read_to_string(&fixtures()[0]).expect("read a fixture");
        isoplan.write("topology.toml", &old).expect("write a file");
        isoplan.run(&["apply", "--yes", "topology.toml"]).ok();
        let comment = "\"``` ~~~~ </details> <b>@octocat</b> /close\"";
        host.nft(&["add", "rule", "inet", "isoplan", "input", "accept", "comment", comment])
            .expect("add a rule");
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        let args =
            ["plan", "--against", "snapshot.json", "--markdown", "--detailed-exitcode", "topology.toml"];
        let ran = isoplan.run(&args);
        assert_eq!(ran.code, Some(2), "{ran}");
        let seen = read(&ran.stdout);
        assert!(seen.code.contains("@octocat"), "{ran}");
        assert!(ran.stdout.contains("\n````diff\n"), "{ran}");
        // Forwarding is off there, and the plan switches it on.
        assert!(ran.stdout.contains("**opens ways of "), "{ran}");
        assert!(seen.code.contains("net/ipv4/ip_forward = 1"), "{ran}");
        let here = isoplan.run(&["plan", "--markdown", "topology.toml"]).ok();
        assert!(here.starts_with("<!-- isoplan plan topology.toml -->\n"), "{here}");
        isoplan.run(&["apply", "--yes", "topology.toml"]).ok();
        let here = isoplan.run(&["plan", "--markdown", "--detailed-exitcode", "topology.toml"]).ok();
        assert!(here.contains("in place, nothing to do"), "{here}");
        read(&here);
        let ran = isoplan.run(&["plan", "--markdown", "--json", "topology.toml"]);
        assert_eq!(ran.code, Some(64), "{ran}");
        let ran = isoplan.run(&["diff", "--markdown", "--json", "topology.toml", "topology.toml"]);
        assert_eq!(ran.code, Some(64), "{ran}");
        let same = isoplan.run(&["diff", "--markdown", "topology.toml", "topology.toml"]).ok();
        assert!(same.contains(" changes nothing\n"), "{same}");
    });
}

#[test]
fn ten_thousand_bridges_fit_into_a_comment() {
    let nics = "[[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\
        [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n";
    let file = |bridges: usize| {
        let mut text = nics.to_owned();
        for number in 0..bridges {
            let (high, low) = (number / 256, number % 256);
            let reach = if number % 3 == 0 { "\"service\", \"storage\"" } else { "\"service\"" };
            writeln!(
                text,
                "[[bridge]]\nname = \"br-{number:05}\"\nsubnets = [\"10.{high}.{low}.0/24\"]\nreach = [{reach}]"
            )
            .expect("write to a string");
        }
        parse(&text)
    };
    let (few, many) = (file(1), file(10_000));
    for all in [false, true] {
        for (old, new) in [(&few, &many), (&many, &few)] {
            let text = diff(old, new, all);
            read(&text);
            assert!(text.contains(" more"), "nothing is said of what is left out");
        }
    }
    let live = LiveState {
        sysctls: [(isoplan::approach::SysctlKey("net/ipv4/ip_forward".to_owned()), "1".to_owned())].into(),
        ..LiveState::default()
    };
    let seen = review::Seen { host: Some("web1"), words: None };
    let text = review::plan(&Plan::new(&many, &live), &live, seen, true);
    read(&text);
    assert!(text.contains("opens nothing, closes ways of "), "{}", &text[..500]);
}

/// On a host that forwards everything, a plan closes what the topology does not let: by the rules themselves.
#[test]
fn what_a_plan_closes_is_what_the_topology_means() {
    law_with(300, 200, draw::topology(), |drawn| {
        let topology = parse(&drawn.text());
        if topology.isolation.approach == topology::ApproachName::Sysctl {
            return Ok(());
        }
        let key = |name: &str| isoplan::approach::SysctlKey(name.to_owned());
        let live = LiveState {
            sysctls: ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]
                .map(|name| (key(name), "1".to_owned()))
                .into(),
            ..LiveState::default()
        };
        let plan = Plan::new(&topology, &live);
        let intent = Intent::new(&topology);
        let changes = pair_changes(&plan, &live);
        let mut told = BTreeSet::new();
        for change in &changes.ways {
            for (from, to) in change.from.iter().flat_map(|from| change.to.iter().map(move |to| (from, to))) {
                for (family, step) in change.steps() {
                    prop_assert_eq!(step.old, Some(Way::Open));
                    told.insert((from.clone(), to.clone(), family, step.new));
                }
            }
        }
        let networks = (0..topology.networks.len()).map(Party::Network);
        let nics = (0..topology.nics.len()).map(Party::Nic);
        let hosts = (0..topology.nics.len()).map(Party::HostOn);
        let label = |party: Party| match party {
            Party::Network(at) => topology.networks[at].name.to_string(),
            Party::Nic(at) => format!("{} ({})", topology.nics[at].name, topology.nics[at].role),
            Party::HostOn(at) => format!("host on {}", topology.nics[at].name),
            Party::Flat(at) => topology.flats[at].name.to_string(),
        };
        for from in networks.clone().chain(nics.clone()) {
            for to in networks.clone().chain(nics.clone()).chain(hosts.clone()) {
                // Asked for otherwise: see the laws of `isoplan diff`.
                if from == to || matches!((from, to), (Party::Nic(a), Party::HostOn(b)) if a == b) {
                    continue;
                }
                for family in IpFamily::BOTH {
                    let Some(way) = intent.way(from, to, family) else { continue };
                    let expected = match way {
                        Way::Open => None,
                        Way::Answers => Some(Way::Blocked),
                        Way::AnswersAndExceptions => Some(Way::Exceptions),
                        other => Some(other),
                    };
                    let found = told.iter().find(|(a, b, of, _)| {
                        *a == label(from) && *b == label(to) && *of == family && b != EACH_OTHER
                    });
                    let found = found.and_then(|(.., new)| *new);
                    // An exception leads to a NIC's hosts or to this host's own address there, as the address is;
                    // the intent does not tell them apart.
                    let other = match to {
                        Party::Nic(nic) => Some(Party::HostOn(nic)),
                        Party::HostOn(nic) => Some(Party::Nic(nic)),
                        _ => None,
                    };
                    // An exception that leaves nothing out lets everything through.
                    let is_whole = topology.allows.iter().zip(&intent.exceptions).any(|(allow, ends)| {
                        let to = if let Party::HostOn(nic) = to { Party::Nic(nic) } else { to };
                        *ends == Some((from, to))
                            && IpFamily::of(&allow.to) == family
                            && allow.protocol.is_none()
                    });
                    let has_exceptions =
                        matches!(expected, Some(Way::Exceptions | Way::PublishedAndExceptions));
                    if has_exceptions && found.is_none() && is_whole {
                        continue;
                    }
                    if expected == Some(Way::Exceptions) && found == Some(Way::Blocked) {
                        let is_for_other = other.is_some_and(|other| {
                            let mut told = told.iter();
                            told.any(|(a, b, of, new)| {
                                *a == label(from)
                                    && *b == label(other)
                                    && *of == family
                                    && *new == Some(Way::Exceptions)
                            })
                        });
                        let is_open = other.is_some_and(|other| {
                            matches!(intent.way(from, other, family), Some(Way::Open | Way::Published))
                        });
                        if is_for_other || is_open || is_whole {
                            continue;
                        }
                    }
                    prop_assert_eq!(
                        found,
                        expected,
                        "{} -> {}, {}\n{}",
                        label(from),
                        label(to),
                        family,
                        drawn.text()
                    );
                }
            }
        }
        Ok(())
    });
}
