//! Words that go into unit files.

use std::fmt;

/// The path of the program that the units run: one that systemd takes as it is, but for `%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPath(String);

impl ExecPath {
    /// A path that can be written into a unit file, a shell script and a crontab alike.
    ///
    /// # Errors
    ///
    /// The path, when it is not absolute, not in its shortest form, or has characters that one of those would change.
    pub fn new(path: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+@:,=%-".contains(c);
        let is_name =
            |name: &str| !name.is_empty() && ![".", ".."].contains(&name) && name.chars().all(plain);
        let is_path = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_name));
        if is_path { Ok(Self(path.to_owned())) } else { Err(path.to_owned()) }
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the first word of `ExecStart=` (systemd.service(5), "Command lines"): specifiers are expanded there,
    /// variables are not.
    pub fn as_argument(&self) -> String {
        self.0.replace('%', "%%")
    }

    /// As a word of `RequiresMountsFor=` (systemd.unit(5)).
    pub fn as_path_list(&self) -> String {
        self.0.replace('%', "%%")
    }

    /// Whether it is where users keep files, which the units do not see (`ProtectHome=`).
    pub fn is_in_a_home(&self) -> bool {
        self.is_below(&["/home/", "/root/", "/run/user/"])
    }

    /// Whether it is where files do not stay: a build, or a temporary directory.
    pub fn is_passing(&self) -> bool {
        self.is_below(&["/tmp/", "/var/tmp/", "/dev/", "/run/", "/proc/"]) || self.0.contains("/target/")
    }

    fn is_below(&self, directories: &[&str]) -> bool {
        directories.iter().any(|directory| self.0.starts_with(directory))
    }
}

/// The name of a unit that another depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

/// Suffixes of units that can be started (systemd.unit(5)).
const SUFFIXES: [&str; 6] = [".service", ".target", ".socket", ".mount", ".timer", ".path"];

impl UnitName {
    /// A plain unit: no specifier, and neither a template nor one of the units that isoplan makes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a clause.
    pub fn new(name: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        let Some(stem) = stem.filter(|stem| !stem.is_empty()) else {
            return Err(format!("`{name}` is not the name of a unit, such as docker.service"));
        };
        if !name.chars().all(plain) || name.len() > 255 || stem.ends_with('@') || name.starts_with('.') {
            return Err(format!("`{name}` is not the name of a unit that can be started"));
        }
        if [super::UNIT, super::WATCH_UNIT].contains(&name) {
            return Err(format!("`{name}` is isoplan's own"));
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
