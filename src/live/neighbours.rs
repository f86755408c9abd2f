//! Services that empty rule sets, and what files of sysctl.d(5) ask for, by the files of a root directory.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::path::{Path, PathBuf};

use super::facts::{names, text};
use crate::boot::Found;
use crate::install;
use crate::risks::Services;

/// What nftables.service loads: Debian, Fedora and its like, SUSE.
const RULE_SETS: [&str; 3] = ["etc/nftables.conf", "etc/sysconfig/nftables.conf", "etc/nftables/main.nft"];
/// Where units that are enabled have their links (systemd.unit(5)).
const UNITS: [&str; 2] = ["etc/systemd/system", "usr/lib/systemd/system"];
/// What `isoplan install` makes to be applied behind nftables.service.
const REAPPLIED: &str = "etc/systemd/system/nftables.service.d/50-isoplan.conf";
/// Later ones give way to earlier ones of the same file name (sysctl.d(5)).
const SYSCTLS: [&str; 4] = ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d"];

pub(super) fn services(root: &Path, firewalld: Option<u32>) -> Services {
    let file =
        RULE_SETS.into_iter().find(|path| flushes(&text(&root.join(path)))).map(|path| format!("/{path}"));
    let enabled = is_enabled(root, "nftables.service");
    let conf = text(&root.join("etc/firewalld/firewalld.conf"));
    let keeps = setting(&conf, "FlushAllOnReload").is_some_and(|value| is_no(&value));
    let ufw = setting(&text(&root.join("etc/ufw/ufw.conf")), "ENABLED");
    let builtins = setting(&text(&root.join("etc/default/ufw")), "MANAGE_BUILTINS");
    let is_yes = |value: Option<String>| value.is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    Services {
        is_reapplied: root.join(REAPPLIED).exists(),
        flushes_at_boot: file.clone().filter(|_| enabled),
        would_flush: file.filter(|_| !enabled),
        firewalld,
        firewalld_flushes: !keeps,
        ufw: is_yes(ufw),
        ufw_flushes: is_yes(builtins),
    }
}

/// A sentence about an `isoplan install` that did not come to its end, or whose files are not as it left them.
pub(super) fn unfinished_install(root: &Path) -> Option<String> {
    let root = install::Root::open(root).ok()?;
    let manifest = match install::manifest(&root) {
        Ok(manifest) => manifest?,
        Err(install::Error::Read { .. }) => return None,
        Err(error) => {
            return Some(format!("{error}: {}.", error.source().map_or(String::new(), ToString::to_string)));
        }
    };
    for installed in &manifest.installed {
        let path = root.full(&installed.path);
        if installed.contents.len() > 1 {
            return Some(format!("An installation did not come to its end at {}.", path.display()));
        }
        let wanted = installed.contents.first();
        match root.found(&installed.path) {
            Ok(Found::Nothing) => {
                return Some(format!("The installation has {}, which is gone.", path.display()));
            }
            Ok(Found::Content { content, .. }) if Some(&content) != wanted => {
                return Some(format!("Somebody changed {}, which the installation wrote.", path.display()));
            }
            _ => {}
        }
    }
    None
}

/// Whether a rule set file has `flush ruleset`, which may stand before or between others on a line.
fn flushes(text: &str) -> bool {
    text.lines().map(|line| line.split('#').next().unwrap_or_default()).any(|line| {
        let words: Vec<&str> =
            line.split(|c: char| c.is_whitespace() || c == ';').filter(|word| !word.is_empty()).collect();
        words.windows(2).any(|pair| pair == ["flush", "ruleset"])
    })
}

fn is_enabled(root: &Path, unit: &str) -> bool {
    UNITS.iter().any(|directory| {
        let directory = root.join(directory);
        let wants = names(&directory)
            .into_iter()
            .filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
        wants.into_iter().any(|name| directory.join(name).join(unit).symlink_metadata().is_ok())
    })
}

/// The value of the last `KEY=VALUE`, without quotes.
fn setting(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| line.split_once('=')).filter(|(name, _)| name.trim() == key);
    values.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned()).next_back()
}

fn is_no(value: &str) -> bool {
    ["no", "false"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// What is asked for of these keys: the value, and the file that says so. Patterns with `*` are not resolved.
pub(super) fn configured<'k>(
    root: &Path,
    keys: impl Iterator<Item = &'k String>,
) -> BTreeMap<String, (String, String)> {
    let keys: BTreeSet<&str> = keys.map(String::as_str).collect();
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in SYSCTLS {
        for name in names(&root.join(directory)).into_iter().filter(|name| name.ends_with(".conf")) {
            files.entry(name.clone()).or_insert_with(|| Path::new(directory).join(name));
        }
    }
    // procps reads it last; systemd-sysctl by way of a link that the distribution has in sysctl.d.
    let files = files.into_values().chain([PathBuf::from("etc/sysctl.conf")]);
    let mut found = BTreeMap::new();
    for file in files {
        for line in text(&root.join(&file)).lines().map(str::trim) {
            if line.starts_with(['#', ';']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let key = path_of(key.trim().trim_start_matches('-'));
            if keys.contains(key.as_str()) {
                found.insert(key, (value.trim().to_owned(), format!("/{}", file.display())));
            }
        }
    }
    found
}

/// The path of a key: with dots, where the first separator is a dot; slashes then stand for dots.
fn path_of(key: &str) -> String {
    match key.find(['.', '/']).map(|at| &key[at..=at]) {
        Some(".") => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("make a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
            fs::write(path, text).expect("write a file");
        }
        root
    }

    #[test]
    fn who_will_flush_is_known_by_files() {
        let conf = ("etc/nftables.conf", "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n}\n");
        let wants = ("etc/systemd/system/sysinit.target.wants/nftables.service", "");
        let found = services(root(&[conf, wants]).path(), None);
        assert_eq!(found.flushes_at_boot.as_deref(), Some("/etc/nftables.conf"));
        let found = services(root(&[conf]).path(), None);
        assert_eq!((found.flushes_at_boot, found.would_flush.is_some()), (None, true));
        let found = services(root(&[("etc/nftables.conf", "# flush ruleset\n"), wants]).path(), None);
        assert_eq!((found.flushes_at_boot, found.would_flush), (None, None));
        let found =
            services(root(&[("etc/firewalld/firewalld.conf", "FlushAllOnReload=no\n")]).path(), Some(7));
        assert!(!found.firewalld_flushes);
        assert!(services(root(&[]).path(), Some(7)).firewalld_flushes, "yes is its default");
        let ufw = [
            ("etc/ufw/ufw.conf", "# a comment\nENABLED=yes\n"),
            ("etc/default/ufw", "MANAGE_BUILTINS=\"yes\"\n"),
        ];
        let found = services(root(&ufw).path(), None);
        assert!(found.ufw && found.ufw_flushes);
        assert!(!services(root(&ufw[1..]).path(), None).ufw);
    }

    #[test]
    fn the_last_file_and_the_first_directory_count() {
        let root = root(&[
            ("usr/lib/sysctl.d/50-a.conf", "net.ipv6.conf.eth1.forwarding = 1\n"),
            (
                "etc/sysctl.d/90-b.conf",
                "-net/ipv6/conf/eth1/forwarding=0\n# net.ipv6.conf.eth1.forwarding=1\n",
            ),
            ("usr/lib/sysctl.d/90-b.conf", "net.ipv6.conf.eth1.forwarding = 1\n"),
            ("etc/sysctl.d/91-c.conf", "net.ipv4.conf.eth1/100.forwarding = 0\n"),
        ]);
        let keys = ["net/ipv6/conf/eth1/forwarding", "net/ipv4/conf/eth1.100/forwarding"].map(str::to_owned);
        let found = configured(root.path(), keys.iter());
        assert_eq!(found[&keys[0]], ("0".to_owned(), "/etc/sysctl.d/90-b.conf".to_owned()));
        assert_eq!(found[&keys[1]].0, "0");
    }
}
