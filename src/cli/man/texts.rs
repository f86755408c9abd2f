//! What the man pages say that clap does not know.

use super::page::Block;

/// The day that the pages are of: that of the release. A clock would make other pages of the same source.
pub(super) const DATE: &str = "2026-11-23";

type Entry = (&'static str, &'static str);

/// Examples of those commands whose help has none: what one does, and the command.
const EXAMPLES: [(&str, &[Entry]); 19] = [
    (
        "check",
        &[
            ("Who may talk to whom, or every mistake of the file:", "isoplan check topology.toml"),
            ("The same for a program:", "isoplan check topology.toml --json"),
        ],
    ),
    (
        "plan",
        &[
            ("What would change on this host:", "isoplan plan topology.toml"),
            (
                "The same in an empty network namespace, without root:",
                "unshare -rn isoplan plan topology.toml --state-dir DIR",
            ),
            (
                "To be read by somebody else and then carried out as it is:",
                "isoplan plan -o plan.json topology.toml",
            ),
            (
                "Elsewhere, on what isoplan-snapshot(1) saved:",
                "isoplan plan --against host.json topology.toml",
            ),
        ],
    ),
    (
        "apply",
        &[
            ("Show it, ask, do it:", "isoplan apply topology.toml"),
            (
                "On a host that is reached by network alone, undone again unless it is confirmed:",
                "isoplan apply topology.toml --confirm-within 60s",
            ),
            ("Exactly what was saved and read:", "isoplan apply plan.json"),
        ],
    ),
    (
        "status",
        &[
            ("Is it in place, and what was dropped?", "isoplan status topology.toml"),
            (
                "For the textfile collector of node_exporter:",
                "isoplan status topology.toml --format prometheus -o isoplan.prom",
            ),
        ],
    ),
    ("remove", &[("Take all of it away, after a question:", "isoplan remove")]),
    (
        "render",
        &[
            ("A file for nft:", "isoplan render topology.toml --format nft -o isoplan.nft"),
            ("A file for sysctl.d:", "isoplan render topology.toml --format sysctl"),
        ],
    ),
    (
        "compare",
        &[
            ("What does each approach stop?", "isoplan compare topology.toml"),
            (
                "Two of them, as a page:",
                "isoplan compare topology.toml --approaches sysctl,nftables --html page.html",
            ),
        ],
    ),
    (
        "verify",
        &[
            ("Does the topology's approach do what the file asks for?", "isoplan verify topology.toml"),
            ("For CI:", "isoplan verify topology.toml --quick --junit isoplan.xml"),
        ],
    ),
    (
        "schema",
        &[("For an editor that checks and completes the file:", "isoplan schema > isoplan.schema.json")],
    ),
    ("snapshot", &[("Save this host for a plan elsewhere:", "isoplan snapshot -o host.json")]),
    ("diff", &[("What changes in meaning between two files?", "isoplan diff old.toml new.toml")]),
    ("confirm", &[("Keep the change that waits:", "isoplan confirm")]),
    ("rollback", &[("What would be undone?", "isoplan rollback --dry-run")]),
    (
        "install",
        &[
            ("Show every file that would be written:", "isoplan install topology.toml --dry-run"),
            (
                "Install it, and let no container start without it:",
                "isoplan install topology.toml --require-for docker.service",
            ),
            (
                "Into an image:",
                "isoplan install topology.toml --yes --root /mnt/image --exec-path /usr/sbin/isoplan",
            ),
        ],
    ),
    ("uninstall", &[("What would go?", "isoplan uninstall --dry-run")]),
    ("watch", &[("Tell what others change, and repair nothing:", "isoplan watch topology.toml --report")]),
    ("discover", &[("Draft a file from this host:", "isoplan discover -o topology.toml")]),
    (
        "completions",
        &[
            (
                "For all users of bash:",
                "isoplan completions bash > /usr/share/bash-completion/completions/isoplan",
            ),
            ("For all users of zsh:", "isoplan completions zsh > /usr/share/zsh/vendor-completions/_isoplan"),
            ("For one user of fish:", "isoplan completions fish > ~/.config/fish/completions/isoplan.fish"),
        ],
    ),
    (
        "man",
        &[
            ("For all users:", "isoplan man /usr/local/share/man/man1"),
            ("For a look:", "isoplan man /tmp/man && man -l /tmp/man/isoplan-plan.1"),
        ],
    ),
];

/// What the README shows of a command, for those whose help has no examples.
pub(super) fn examples(verb: &str) -> Vec<Block> {
    let of_verb = EXAMPLES.iter().filter(|(name, _)| *name == verb).flat_map(|(_, examples)| *examples);
    let block =
        |(what, command): &Entry| Block { text: (*what).to_owned(), lines: vec![(*command).to_owned()] };
    of_verb.map(block).collect()
}

/// Each exit code, what it means, and the commands that end with it; of all commands where there is none.
const EXIT_CODES: [(&str, &str, &[&str]); 8] = [
    ("0", "Done, and nothing is left to say.", &[]),
    (
        "1",
        "It could not be done, or the answer to a question was no; the message says in which state the host is.",
        &[],
    ),
    (
        "2",
        "There are differences: something is not in place, or with --detailed-exitcode there is something to do.",
        &["", "plan", "diff", "status", "confirm"],
    ),
    (
        "3",
        "A leak, or something broken: a packet arrived that should be blocked, or did not that should arrive.",
        &["", "compare", "verify", "probe"],
    ),
    ("4", "Rolled back: the change was not confirmed in time, and was undone.", &["", "apply", "confirm"]),
    ("64", "The command line makes no sense.", &[]),
    (
        "65",
        "The topology, or a file that isoplan saved, was refused; every mistake of a topology was told.",
        &[
            "", "apply", "check", "compare", "diff", "explain", "install", "lab", "plan", "render", "status",
            "verify", "watch",
        ],
    ),
    ("77", "The kernel or the file system does not permit it.", &[]),
];

/// The codes that a command ends with; all of them for isoplan(1).
pub(super) fn exit_codes(verb: &str) -> impl Iterator<Item = Entry> {
    let of_verb = EXIT_CODES.iter().filter(move |(_, _, verbs)| verbs.is_empty() || verbs.contains(&verb));
    of_verb.map(|(code, means, _)| (*code, *means))
}

const ENVIRONMENT: [Entry; 6] = [
    (
        "ISOPLAN_STATE_DIR",
        "Where the lock and the journal of sysctls are kept, in place of /run/isoplan; --state-dir goes first.",
    ),
    (
        "ISOPLAN_TOPOLOGY",
        "The topology file where --topology is not given; isoplan-lab(1) sets it to its own.",
    ),
    ("NO_COLOR", "Set to anything but the empty text, no colours are used, unless --color says otherwise."),
    ("SHELL", "The shell that isoplan-lab(1) starts where it is given no command."),
    (
        "SOURCE_DATE_EPOCH",
        "The time in saved plans and snapshots, in seconds since 1970, so that their bytes are the same each time.",
    ),
    (
        "DOCKER_HOST, CONTAINER_HOST",
        "The sockets of Docker and Podman that isoplan-discover(1) asks, as unix:// addresses, where they are not at their usual place.",
    ),
];

/// The variables that a command reads: those that clap knows of, and others.
pub(super) fn environment(verb: &str, of_clap: &[&str]) -> impl Iterator<Item = Entry> {
    let reads = move |name: &str| match name {
        "NO_COLOR" => true,
        "SHELL" => verb == "lab",
        "SOURCE_DATE_EPOCH" => ["plan", "snapshot"].contains(&verb),
        "DOCKER_HOST, CONTAINER_HOST" => verb == "discover",
        name => of_clap.contains(&name),
    };
    ENVIRONMENT.into_iter().filter(move |(name, _)| verb.is_empty() || reads(name))
}

const TOPOLOGY: Entry = (
    "/etc/isoplan/topology.toml",
    "The topology that is applied at boot. isoplan-install(1) writes it. It is described in docs/topology.md, which comes with isoplan.",
);
const STATE: Entry = (
    "/run/isoplan",
    "The lock, the journal of sysctls, and the record of the last change. Removing it while rules are in place takes the way back from isoplan-rollback(1).",
);
const UNITS: [Entry; 5] = [
    (
        "/etc/isoplan/installed.json",
        "What isoplan-install(1) wrote, so that isoplan-uninstall(1) takes away exactly that.",
    ),
    ("/etc/isoplan/isoplan.nft", "The rule set as text, for nftables.conf to include."),
    ("/etc/systemd/system/isoplan.service", "Applies the topology before the network is up."),
    ("/etc/systemd/system/isoplan-watch.service", "Repairs what others change."),
    (
        "/etc/systemd/system/nftables.service.d/50-isoplan.conf",
        "Has the topology applied again whenever nftables.service flushes the rule set.",
    ),
];

/// The files that a command reads and writes, besides those that it is given.
pub(super) fn files(verb: &str, has_state: bool) -> Vec<Entry> {
    let mut files = Vec::new();
    if ["", "install", "uninstall"].contains(&verb) {
        files.push(TOPOLOGY);
        files.extend(UNITS);
    }
    if has_state {
        files.push(STATE);
    }
    files
}

const SEE_ALSO: [(&str, &[&str]); 20] = [
    ("", &["nft(8)", "ip-netns(8)", "sysctl.d(5)", "systemctl(1)"]),
    ("check", &["isoplan(1)", "isoplan-plan(1)", "isoplan-discover(1)"]),
    ("plan", &["isoplan(1)", "isoplan-apply(1)", "isoplan-snapshot(1)", "isoplan-diff(1)"]),
    (
        "apply",
        &["isoplan(1)", "isoplan-plan(1)", "isoplan-confirm(1)", "isoplan-rollback(1)", "isoplan-remove(1)"],
    ),
    ("status", &["isoplan(1)", "isoplan-plan(1)", "isoplan-watch(1)"]),
    ("remove", &["isoplan(1)", "isoplan-rollback(1)", "isoplan-uninstall(1)"]),
    ("render", &["isoplan(1)", "nft(8)", "iptables-restore(8)", "sysctl.d(5)"]),
    ("compare", &["isoplan(1)", "isoplan-verify(1)", "isoplan-explain(1)"]),
    ("verify", &["isoplan(1)", "isoplan-compare(1)", "isoplan-explain(1)", "isoplan-probe(1)"]),
    ("lab", &["isoplan(1)", "isoplan-probe(1)", "ip-netns(8)", "user_namespaces(7)"]),
    ("probe", &["isoplan(1)", "isoplan-lab(1)", "isoplan-verify(1)"]),
    ("explain", &["isoplan(1)", "isoplan-lab(1)", "isoplan-verify(1)"]),
    ("snapshot", &["isoplan(1)", "isoplan-plan(1)"]),
    ("diff", &["isoplan(1)", "isoplan-plan(1)"]),
    ("confirm", &["isoplan(1)", "isoplan-apply(1)", "isoplan-rollback(1)"]),
    ("rollback", &["isoplan(1)", "isoplan-apply(1)", "isoplan-confirm(1)"]),
    ("install", &["isoplan(1)", "isoplan-uninstall(1)", "isoplan-watch(1)", "systemd.unit(5)", "nft(8)"]),
    ("uninstall", &["isoplan(1)", "isoplan-install(1)", "isoplan-remove(1)"]),
    ("watch", &["isoplan(1)", "isoplan-install(1)", "isoplan-status(1)", "systemd.service(5)"]),
    ("discover", &["isoplan(1)", "isoplan-check(1)"]),
];

/// Pages to read next.
pub(super) fn see_also(verb: &str) -> &'static [&'static str] {
    SEE_ALSO.iter().find(|(name, _)| *name == verb).map_or(&["isoplan(1)"], |(_, pages)| pages)
}
