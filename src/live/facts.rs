//! What residual risks are found in, of this host as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::{host, neighbours, processes};
use crate::netlink::{self, Nftables, TcAction};
use crate::risks::{Facts, Filter, FilterAction, Function};
use crate::topology::Topology;

/// Reads all of it. What cannot be read is left out and said in [`Facts::unseen`]: a risk that was not looked for
/// must not look like one that is not there.
pub fn facts(nftables: &mut Nftables, topology: Option<&Topology>) -> Facts {
    let mut facts = Facts::default();
    facts.host = seen(&mut facts.unseen, "links, addresses and routes", host());
    let found = processes::read();
    facts.on_host_network = found.on_host_network;
    facts.relays = found.relays;
    facts.elsewhere = found.elsewhere;
    facts.unseen.extend(found.unseen);
    facts.filters = filters(&mut facts);
    let foreign = nftables.read_foreign();
    let foreign = seen(&mut facts.unseen, "the tables of others", foreign);
    (facts.tables, facts.flowtables) = (foreign.tables, foreign.flowtables);
    facts.legacy = legacy();
    let root = Path::new("/");
    facts.services = neighbours::services(root, found.firewalld);
    facts.unfinished_install = neighbours::unfinished_install(root);
    let nics: Vec<&str> = topology
        .map_or_else(Vec::new, |topology| topology.nics.iter().map(|nic| nic.name.as_str()).collect());
    facts.sysctls = sysctls(&nics);
    facts.configured = neighbours::configured(root, facts.sysctls.keys());
    facts.functions = nics.iter().flat_map(|nic| functions(root, nic)).collect();
    facts
}

/// What was read, or nothing and a line about it.
fn seen<T: Default, E: std::error::Error>(unseen: &mut Vec<String>, what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        unseen.push(format!("{what}: {error}"));
        T::default()
    })
}

fn filters(facts: &mut Facts) -> Vec<Filter> {
    let found = seen(&mut facts.unseen, "filters of tc", netlink::filters());
    let links = &facts.host.links;
    let name = |index: u32| match links.get(&index) {
        Some(link) => link.name.clone(),
        None if index == 0 => "a block of links".to_owned(),
        None => format!("link {index}"),
    };
    let filters = found.into_iter().map(|filter| Filter {
        link: name(filter.link),
        at: filter.at,
        kind: filter.kind,
        does: match filter.does {
            TcAction::Redirect(to) => FilterAction::Redirect(name(to)),
            TcAction::Mirror(to) => FilterAction::Mirror(name(to)),
            TcAction::Program(program) => FilterAction::Program(program),
        },
    });
    // A classifier shows each of its tables; one of them is enough.
    filters.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The tables of xtables-legacy, of this thread's network namespace. A kernel without it has no such files.
fn legacy() -> BTreeMap<&'static str, Vec<String>> {
    let files = ["ip_tables_names", "ip6_tables_names", "arp_tables_names"];
    let tables = files.into_iter().filter_map(|file| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok()?;
        let tables: Vec<String> = text.lines().map(str::to_owned).collect();
        (!tables.is_empty()).then_some((file, tables))
    });
    tables.collect()
}

/// The sysctls that risks are found in; those that do not exist are left out.
fn sysctls(nics: &[&str]) -> BTreeMap<String, String> {
    let bridge = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
    let of_nics = nics.iter().flat_map(|nic| {
        ["ipv4/conf/NIC/forwarding", "ipv6/conf/NIC/forwarding", "ipv6/conf/NIC/accept_ra"]
            .map(|key| format!("net/{}", key.replace("NIC", nic)))
    });
    let keys = bridge.map(str::to_owned).into_iter().chain(of_nics);
    let read = |key: &String| fs::read_to_string(Path::new("/proc/sys").join(key)).ok();
    keys.filter_map(|key| read(&key).map(|value| (key, value.trim().to_owned()))).collect()
}

/// Virtual functions of a NIC that have no link here: they are in another namespace, or a virtual machine has them.
///
/// `device/virtfnN` are the functions, and `net` below each has its link if that is in the namespace that
/// /sys was mounted in (Documentation/ABI/testing/sysfs-bus-pci).
fn functions(root: &Path, nic: &str) -> Vec<Function> {
    let device = root.join("sys/class/net").join(nic).join("device");
    let entries = fs::read_dir(&device).into_iter().flatten().flatten();
    let mut functions: Vec<Function> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("virtfn")?.parse().ok()?;
            let function = entry.path();
            let has_link = fs::read_dir(function.join("net")).is_ok_and(|mut links| links.next().is_some());
            let driver = fs::read_link(function.join("driver")).ok();
            let driver = driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
            // Without a driver nobody can use it.
            (!has_link && driver.is_some()).then_some(Function { nic: nic.to_owned(), number, driver })
        })
        .collect();
    functions.sort_by_key(|function| function.number);
    functions
}

/// Text of a file; nothing where there is none.
pub(super) fn text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The names in a directory, sorted; none where there is none.
pub(super) fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// What `error` is when a file cannot be read for want of privilege.
pub(super) fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// There is no SR-IOV where the tests run: directories as the kernel makes them.
    #[test]
    fn functions_without_a_link_here_are_found() {
        let root = tempfile::tempdir().expect("make a directory");
        let device = root.path().join("sys/class/net/eth1/device");
        for (function, link, driver) in
            [("virtfn0", true, Some("iavf")), ("virtfn1", false, Some("vfio-pci")), ("virtfn2", false, None)]
        {
            let function = device.join(function);
            fs::create_dir_all(&function).expect("make a directory");
            if link {
                fs::create_dir_all(function.join("net/eth1v0")).expect("make a directory");
            }
            if let Some(driver) = driver {
                symlink(format!("../../bus/pci/drivers/{driver}"), function.join("driver"))
                    .expect("make a link");
            }
        }
        let found = functions(root.path(), "eth1");
        assert_eq!(
            found,
            [Function { nic: "eth1".to_owned(), number: 1, driver: Some("vfio-pci".to_owned()) }]
        );
        assert_eq!(functions(root.path(), "eth0"), []);
    }
}
