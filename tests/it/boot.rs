//! A machine that boots with an installation: from the first moment that there are links, nothing passes.
//!
//! systemd itself starts the units here; see `lab::systemd`. A container sends all the time, also before there is a
//! bridge. NICs and bridges are made by commands, in units with the order of networking.service and docker.service.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::flood::Flood;
use crate::lab::packet::Kind;
use crate::lab::systemd::{Image, Machine, unavailable};
use crate::lab::{Family, HostSpec, Lab, Masquerade, Privilege, in_namespace_with, isolate};
use crate::{ISOPLAN, check, is_answered, is_blocked};

/// Runs a test on a machine that can be booted, where that is possible.
pub(crate) fn with_systemd<F: FnOnce()>(body: F) {
    if let Some(reason) = unavailable() {
        // CI that runs as root can do it.
        assert!(std::env::var_os("CI").is_none() || !isolate::is_real_root(), "CI may not skip: {reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    in_namespace_with(Privilege::RootIfPossible, body);
}

/// After `network-pre.target`, as networking.service and systemd-networkd.service are.
pub(crate) const NICS_UNIT: &str = "[Unit]
DefaultDependencies=no
Wants=network.target
After=network-pre.target systemd-sysctl.service
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh /etc/lab/nics
[Install]
WantedBy=multi-user.target
";

/// Ordered as Debian's.
pub(crate) const DOCKER_UNIT: &str = "[Unit]
After=network-online.target firewalld.service containerd.service time-set.target
Wants=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh /etc/lab/docker
[Install]
WantedBy=multi-user.target
";

/// A lab with a host that can be switched off, and an image to boot it from.
struct Host {
    lab: Lab,
    image: Image,
}

impl Host {
    fn new() -> Self {
        let mut spec = HostSpec::service_instance();
        // Docker does it, in its own time.
        spec.masquerade = Masquerade::LikeDocker;
        let lab = Lab::start(spec).expect("build the lab");
        keep_gateways(&lab);
        let image = Image::new().expect("make a root file system");
        let write = |path: &str, text: &str| image.write(path, text).expect("write into the image");
        write("etc/lab/nics", &nics(&lab));
        write("etc/lab/docker", &docker(&lab));
        write("etc/systemd/system/lab-nics.service", NICS_UNIT);
        write("etc/systemd/system/docker.service", DOCKER_UNIT);
        write("root/topology.toml", &lab.spec.topology());
        for unit in ["lab-nics.service", "docker.service", "nftables.service"] {
            image.enable(unit).expect("enable a unit");
        }
        fs::copy(ISOPLAN, image.root().join("usr/local/sbin/isoplan")).expect("copy isoplan");
        Self { lab, image }
    }

    fn switch_off(&self) {
        switch_off(&self.lab);
    }

    /// Runs isoplan on the image.
    fn isoplan(&self, arguments: &[&str]) {
        let root = self.image.root().display().to_string();
        let output = Command::new(ISOPLAN).args(arguments).args(["--root", &root, "--yes"]).output();
        let output = output.expect("run isoplan");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    fn install(&self, more: &[&str]) {
        self.install_with_watch(&[&["--no-watch"], more].concat());
    }

    fn install_with_watch(&self, more: &[&str]) {
        let topology = self.image.root().join("root/topology.toml").display().to_string();
        let common = ["install", &topology, "--exec-path", "/usr/local/sbin/isoplan"];
        self.isoplan(&[common.as_slice(), more].concat());
    }

    /// A container that sends to storage all the time.
    fn flood(&self, family: Family) -> Flood {
        let pause = Duration::from_micros(20);
        Flood::start_paced(&self.lab, family, "web", "storage", pause).expect("start the flood")
    }

    /// How many packets of floods came to storage after a mark.
    fn arrived(&self, mark: usize) -> usize {
        let storage = self.lab.node("storage").index;
        self.lab.journal.count(mark, |seen| seen.node == storage && Flood::number(seen).is_some())
    }

    /// Boots with a container that sends to storage all the time; how many packets arrived until all was up.
    fn boot_under_flood(&self) -> (Machine, usize) {
        const ENOUGH: u64 = 500;
        self.switch_off();
        let mark = self.lab.journal.mark();
        let floods = Family::BOTH.map(|family| self.flood(family));
        let machine = self.image.boot().expect("boot");
        assert_eq!(machine.property("docker.service", "ActiveState"), "active", "{}", machine.journal());
        floods.iter().for_each(|flood| flood.wait_for(ENOUGH));
        let sent: u64 = floods.into_iter().map(Flood::stop).sum();
        self.settle();
        let arrived = self.arrived(mark);
        eprintln!("{sent} packets sent, {arrived} arrived");
        (machine, arrived)
    }

    /// Does something while a container sends to storage: how many packets arrived from then until it was done, for how
    /// long that is, and how many arrived afterwards.
    fn gap(&self, what: impl FnOnce()) -> Gap {
        const ENOUGH: u64 = 300;
        let mark = self.lab.journal.mark();
        let flood = self.flood(Family::V4);
        flood.wait_for(ENOUGH);
        let (started, from) = (Instant::now(), flood.now());
        what();
        let (took, until) = (started.elapsed(), flood.now());
        flood.wait_for(ENOUGH);
        flood.stop();
        // Not with service: a flush takes the masquerade of the engine along.
        self.lab.settle(self.lab.node("web"), Family::V4).expect("settle");
        let storage = self.lab.node("storage").index;
        let count = |is_in: &dyn Fn(u64) -> bool| {
            self.lab
                .journal
                .count(mark, |seen| seen.node == storage && Flood::number(seen).is_some_and(is_in))
        };
        assert_eq!(count(&|number| number < from), 0, "closed before");
        let during = count(&|number| (from..=until).contains(&number));
        let each = took.div_f64((until - from).max(1) as f64);
        Gap {
            during,
            open: each * u32::try_from(during).expect("a count"),
            after: count(&|number| number > until),
        }
    }

    /// The container can talk to service, and what it sent before has passed.
    fn settle(&self) {
        for family in Family::BOTH {
            let web = self.lab.node("web");
            self.lab.wait_for_echo(web, self.lab.node("service").address(family)).expect("reach service");
            self.lab.settle(web, family).expect("settle");
        }
    }
}

/// Has every container know its gateway. A kernel that asked for it in vain would not ask again for a while.
pub(crate) fn keep_gateways(lab: &Lab) {
    for (number, bridge) in (0_u8..).zip(&lab.spec.bridges) {
        for container in &bridge.containers {
            let lines = Family::BOTH.map(|family| {
                let gateway = lab.node(container).partner(family);
                format!("neigh replace {gateway} lladdr 02:00:00:00:{number:02x}:fe dev eth0 nud permanent\n")
            });
            lab.node(container).ip(&lines.concat()).expect("write down the gateway");
        }
    }
}

/// Takes away what a machine that is off does not have: links, rules, and forwarding.
pub(crate) fn switch_off(lab: &Lab) {
    let host = lab.host();
    for link in ["docker0", "eth0", "eth1"] {
        // After the first time some may be missing.
        let _ = host.ip(&format!("link del {link}"));
    }
    host.nft(&["flush", "ruleset"]).expect("flush");
    lab.set_forwarding(false).expect("switch off forwarding");
}

/// What came through while something was done.
#[derive(Debug)]
struct Gap {
    during: usize,
    /// About how long the way was open.
    open: Duration,
    after: usize,
}

/// What brings the NICs up. The servers at their other ends are up before the host's own ends have an address.
pub(crate) fn nics(lab: &Lab) -> String {
    let mut text = String::from("set -e\n");
    for (number, nic) in (0x10_u8..).zip(&lab.spec.nics) {
        let (name, role) = (nic.name, nic.role);
        let [near, far] = [1, 2].map(|end| format!("02:00:00:00:{number:02x}:{end:02x}"));
        let mut say = |line: String| writeln!(text, "ip {line}").expect("write to a string");
        say(format!("link add {name} address {near} type veth peer name eth0 address {far} netns {role}"));
        say(format!("-n {role} link set eth0 up"));
        for family in Family::BOTH {
            let nodad = if family == Family::V6 { " nodad" } else { "" };
            let (here, there) = (nic.net.address(family, 10), lab.node(role).address(family));
            say(format!("-n {role} address add {} dev eth0{nodad}", nic.net.interface(family, 5)));
            say(format!("-n {role} neigh add {here} lladdr {near} dev eth0 nud permanent"));
            say(format!("-n {role} route add default via {here}"));
            say(format!("link set {name} up"));
            say(format!("address add {} dev {name}{nodad}", nic.net.interface(family, 10)));
            say(format!("neigh add {there} lladdr {far} dev {name} nud permanent"));
            if nic.is_default {
                say(format!("route add default via {there}"));
            }
            if let Some(net) = nic.behind {
                say(format!("route add {} via {there}", net.prefix(family)));
            }
        }
    }
    text
}

/// What a container engine does as it starts.
pub(crate) fn docker(lab: &Lab) -> String {
    let mut text = String::from("set -e\n");
    let mut say = |line: String| writeln!(text, "{line}").expect("write to a string");
    for (key, value) in [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")] {
        // As dockerd does: only where it is off.
        say(format!("[ $(cat /proc/sys/{key}) = {value} ] || echo {value} > /proc/sys/{key}"));
    }
    say(format!("nft -f - <<'END'\n{}END", lab.masquerade_of_engine()));
    for (number, bridge) in (0_u8..).zip(&lab.spec.bridges) {
        let name = bridge.name;
        say(format!("ip link add {name} address 02:00:00:00:{number:02x}:fe type bridge mcast_snooping 0"));
        for container in &bridge.containers {
            say(format!("ip link set v-{container} master {name} up"));
        }
        say(format!("ip link set {name} up"));
        for family in Family::BOTH {
            let nodad = if family == Family::V6 { " nodad" } else { "" };
            say(format!("ip address add {} dev {name}{nodad}", bridge.net.interface(family, 1)));
        }
    }
    text
}

#[test]
fn not_one_packet_passes_from_the_first_moment_on() {
    with_systemd(|| {
        let host = Host::new();
        let (machine, arrived) = host.boot_under_flood();
        assert!(arrived > 0, "without an installation the flood arrives");
        drop(machine);

        host.install(&[]);
        let (machine, arrived) = host.boot_under_flood();
        assert_eq!(arrived, 0, "{}", machine.journal());
        let said = || format!("{}\n{}", machine.console(), machine.journal());
        assert_eq!(machine.property("isoplan.service", "ActiveState"), "active", "{}", said());
        let service = Family::BOTH.map(|family| host.lab.probe(Kind::Udp, family, "web", "service"));
        check("after boot", &service, is_answered);
        // There is no cycle that systemd had to break by leaving something out.
        let console = machine.console();
        assert!(console.contains("Startup finished") && !console.contains("cycle"), "{console}");
    });
}

/// Empties /tmp while the first units start, as systemd-tmpfiles does once; systemd 252 makes the `/dev` of
/// `PrivateDevices=` there, and what it confines so is then not started.
const CLEANER_UNIT: &str = "[Unit]
DefaultDependencies=no
Before=isoplan.service
[Service]
ExecStart=/bin/sh -c 'while :; do rm -rf /tmp/*; done'
[Install]
WantedBy=sysinit.target
";

#[test]
fn emptying_tmp_does_not_keep_the_rules_away() {
    with_systemd(|| {
        let host = Host::new();
        host.image.write("etc/systemd/system/cleaner.service", CLEANER_UNIT).expect("write a unit");
        host.image.enable("cleaner.service").expect("enable it");
        host.install_with_watch(&[]);
        for _ in 0..3 {
            let machine = host.image.boot().expect("boot");
            for unit in ["cleaner.service", "isoplan.service", "isoplan-watch.service"] {
                let state = machine.property(unit, "ActiveState");
                assert_eq!(state, "active", "{unit}: {}", machine.console());
            }
            host.switch_off();
        }
    });
}

#[test]
fn nftables_service_flushes_and_the_rules_come_back() {
    with_systemd(|| {
        let host = Host::new();
        host.install(&[]);
        let (machine, arrived) = host.boot_under_flood();
        assert_eq!(arrived, 0, "{}", machine.journal());
        let service = |verb: &str| drop(machine.ok(&["systemctl", verb, "nftables.service"]));
        for verb in ["reload", "restart", "stop", "start", "reload"] {
            let gap = host.gap(|| service(verb));
            eprintln!("{verb}: {} packets in about {:?}", gap.during, gap.open);
            assert_eq!(gap.after, 0, "{verb}: {}", machine.journal());
        }
        // How long it takes is up to the machine; that each of them did it is not.
        let said = machine.journal();
        assert!(!said.contains("error:"), "{said}");
        // What else is there is what nftables.service loads.
        assert!(host.lab.host().nft(&["list", "tables"]).expect("list").contains("inet filter"));

        // In the same transaction as the flush there is no gap at all.
        machine.ok(&["sh", "-c", "echo 'include \"/etc/isoplan/*.nft\"' >> /etc/nftables.conf"]);
        for _ in 0..5 {
            let gap = host.gap(|| service("reload"));
            assert_eq!((gap.during, gap.after), (0, 0), "{gap:?}");
        }

        // Without the drop-in it does not come back; and what is not there to be included is no error.
        machine.ok(&["rm", "/etc/isoplan/isoplan.nft"]);
        machine.ok(&["rm", "/etc/systemd/system/nftables.service.d/50-isoplan.conf"]);
        machine.ok(&["systemctl", "daemon-reload"]);
        let gap = host.gap(|| service("reload"));
        assert!(gap.after > 0, "{gap:?}");
    });
}

#[test]
fn a_flush_by_hand_is_repaired_by_the_unit_that_watches() {
    with_systemd(|| {
        let host = Host::new();
        host.install_with_watch(&[]);
        let (machine, arrived) = host.boot_under_flood();
        assert_eq!(arrived, 0, "{}", machine.journal());
        // It has said that it is ready, in all that it is confined by.
        assert_eq!(
            machine.property("isoplan-watch.service", "ActiveState"),
            "active",
            "{}",
            machine.journal()
        );
        let is_back = || host.lab.host().nft(&["list", "tables"]).expect("list").contains("inet isoplan");
        let gap = host.gap(|| {
            host.lab.host().nft(&["flush", "ruleset"]).expect("flush");
            let deadline = Instant::now() + Duration::from_secs(20);
            while !is_back() {
                assert!(Instant::now() < deadline, "it is not repaired: {}", machine.journal());
            }
        });
        eprintln!("flush by hand: {} packets in about {:?}", gap.during, gap.open);
        assert_eq!(gap.after, 0, "{}", machine.journal());
        assert_eq!(machine.property("isoplan-watch.service", "NRestarts"), "0", "{}", machine.journal());
    });
}

#[test]
fn what_requires_isolation_does_not_start_without_it() {
    with_systemd(|| {
        let host = Host::new();
        host.install(&["--require-for", "docker.service"]);
        let (machine, arrived) = host.boot_under_flood();
        assert_eq!(arrived, 0, "{}", machine.journal());
        // What applies it again leaves it running.
        let started = machine.property("docker.service", "InvocationID");
        machine.ok(&["systemctl", "reload", "isoplan.service"]);
        machine.ok(&["systemctl", "restart", "nftables.service"]);
        assert_eq!(machine.property("docker.service", "InvocationID"), started);
        drop(machine);

        host.image.write("etc/isoplan/topology.toml", "[[bridge]]\n").expect("break the topology");
        host.switch_off();
        let machine = host.image.boot().expect("boot");
        assert_eq!(machine.property("isoplan.service", "Result"), "exit-code");
        assert_eq!(machine.property("docker.service", "ActiveState"), "inactive");
        // The machine can be reached, for somebody to repair it.
        assert_eq!(machine.property("lab-nics.service", "ActiveState"), "active");
        assert_eq!(host.lab.host().read_sysctl("net/ipv4/ip_forward").expect("read"), "0");
        drop(machine);

        // Where nothing was said, containers start.
        host.isoplan(&["uninstall", "--force"]);
        host.install(&[]);
        host.image.write("etc/isoplan/topology.toml", "[[bridge]]\n").expect("break the topology");
        let (machine, arrived) = host.boot_under_flood();
        assert_eq!(machine.property("isoplan.service", "Result"), "exit-code");
        assert!(arrived > 0);
    });
}

#[test]
fn it_is_installed_and_taken_away_on_a_machine_that_runs() {
    with_systemd(|| {
        let host = Host::new();
        let (machine, arrived) = host.boot_under_flood();
        assert!(arrived > 0);
        let docker = machine.property("docker.service", "InvocationID");
        let isoplan = |arguments: &[&str]| machine.ok(&[&["/usr/local/sbin/isoplan"], arguments].concat());
        let has_table = || host.lab.host().nft(&["list", "tables"]).expect("list").contains("isoplan");

        isoplan(&["install", "/root/topology.toml", "--yes", "--no-watch"]);
        assert_eq!(machine.property("isoplan.service", "ActiveState"), "inactive");
        assert!(!has_table(), "at the next boot, not before");
        isoplan(&["install", "/root/topology.toml", "--yes", "--no-watch", "--now"]);
        assert_eq!(machine.property("isoplan.service", "ActiveState"), "active");
        let storage = Family::BOTH.map(|family| host.lab.probe(Kind::Udp, family, "web", "storage"));
        check("installed", &storage, is_blocked);
        let more = ["--yes", "--no-watch", "--now", "--require-for", "docker.service"];
        isoplan(&[&["install", "/root/topology.toml"], &more[..]].concat());
        assert!(machine.property("docker.service", "Requires").contains("isoplan.service"));

        isoplan(&["uninstall", "--yes"]);
        assert_eq!(machine.property("isoplan.service", "LoadState"), "not-found");
        assert_eq!(machine.property("isoplan.service", "ActiveState"), "inactive");
        assert!(!machine.property("docker.service", "Requires").contains("isoplan.service"));
        assert_eq!(machine.property("docker.service", "InvocationID"), docker, "it went on all the time");
        check("taken away", &storage, is_blocked);
        isoplan(&["remove", "--yes"]);
        assert!(!has_table());
        let left = machine.ok(&["find", "/etc", "-name", "*isoplan*"]);
        assert_eq!(left, "", "nothing is left");
    });
}

/// The udev rule's command for an interface: what udev runs when one appears, with the name put in.
fn udev_command(image: &Image, link: &str) -> String {
    let rules = fs::read_to_string(image.root().join("etc/udev/rules.d/99-zz-isoplan.rules")).expect("read");
    let run = rules.split("RUN+=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a command");
    run.replace("$name", link)
}

#[test]
fn sysctls_are_written_after_everything_that_undoes_them() {
    with_systemd(|| {
        let host = Host::new();
        let topology = host.lab.spec.topology() + "approach = \"sysctl\"\n";
        host.image.write("root/topology.toml", &topology).expect("write the topology");
        // systemd-sysctl keeps the first key in its place, and the second sets every interface.
        let trap = "net/ipv4/conf/eth1/forwarding = 0\nnet.ipv4.ip_forward = 1\n";
        host.image.write("etc/sysctl.d/10-trap.conf", trap).expect("write a file");
        // This one has its NICs before anything starts.
        host.image.write("etc/lab/nics", "true\n").expect("write a file");
        let boot = || {
            let _ = host.lab.host().ip("link del docker0");
            host.lab.host().nft(&["flush", "ruleset"]).expect("flush");
            host.lab.set_forwarding(false).expect("switch off forwarding");
            host.image.boot().expect("boot")
        };
        let forwarding = |link: &str| {
            host.lab.host().read_sysctl(&format!("net/ipv4/conf/{link}/forwarding")).expect("read a sysctl")
        };
        drop(boot());
        assert_eq!(forwarding("eth1"), "1", "the trap, without an installation");
        host.install(&[]);
        let machine = boot();
        assert_eq!(forwarding("eth1"), "0", "{}", machine.journal());
        assert_eq!([forwarding("eth0"), forwarding("docker0")], ["1", "1"]);
        // What it stops and what it does not: tests/it/sysctl_approach.rs.
        let back = [host.lab.probe(Kind::Udp, Family::V4, "storage", "web")];
        check("from storage", &back, is_blocked);

        // An interface that appears, and one that gets the name of another.
        host.lab.host().ip("link add veth7 type veth peer name veth8\nlink del eth1").expect("change links");
        host.lab.host().ip("link set veth7 name eth1").expect("rename");
        assert_eq!(forwarding("eth1"), "1");
        machine.ok(&["sh", "-c", &udev_command(&host.image, "veth8")]);
        assert_eq!([forwarding("eth1"), forwarding("veth8")], ["1", "1"], "not of that one");
        machine.ok(&["sh", "-c", &udev_command(&host.image, "eth1")]);
        assert_eq!([forwarding("eth1"), forwarding("veth8")], ["0", "1"]);
    });
}
