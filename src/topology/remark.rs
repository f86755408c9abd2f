//! What is right as it stands, and may be a typing error all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::mistake::quote;
use super::model::{Reach, Role, Topology};

/// A word with fewer letters is not compared: `lan` and `wan` are two words.
const LETTERS: usize = 5;
/// With more roles than these in a file, they are held against the known ones only.
const ROLES: usize = 100;

/// Something that a reader of a topology should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// In a sentence without a period.
    pub message: String,
    /// The line of the entry that it is about, from 1.
    pub line: u32,
}

impl Topology {
    /// Roles that nobody reaches and that are nearly another role: a misspelt role is one of its own, which nothing
    /// opens and nothing refuses. In the order of the file.
    pub fn remarks(&self) -> Vec<Remark> {
        let networks = self.networks.iter().flat_map(|network| &network.reach);
        let reached =
            networks.chain(self.nics.iter().flat_map(|nic| &nic.reach)).filter_map(|reach| match reach {
                Reach::Role(role) => Some(role),
                Reach::Network(_) => None,
            });
        let reached: BTreeSet<&Role> =
            reached.chain(self.flats.iter().flat_map(|flat| &flat.reach)).collect();
        let mut roles: BTreeMap<&Role, usize> = BTreeMap::new();
        for nic in &self.nics {
            *roles.entry(&nic.role).or_default() += 1;
        }
        // Nobody gives names of their own to so many that each has to be held against each.
        let of_the_file: Vec<&str> = match roles.len() {
            0..=ROLES => roles.keys().map(|role| role.0.as_str()).collect(),
            _ => Vec::new(),
        };
        let mut remarks: Vec<Remark> = Vec::new();
        for nic in &self.nics {
            // A role that several NICs have was hardly misspelt on each of them.
            let is_alone = roles.get(&nic.role) == Some(&1);
            if !is_alone || Role::KNOWN.contains(&nic.role.0.as_str()) || reached.contains(&nic.role) {
                continue;
            }
            let others = of_the_file.iter().copied().filter(|role| *role != nic.role.0);
            let Some(meant) = meant(&nic.role.0, others) else { continue };
            let message = format!(
                "role {} of nic {} is one of its own, which nobody reaches: did you mean `{meant}`?",
                quote(&nic.role.0),
                nic.name
            );
            remarks.push(Remark { message, line: self.entry(nic.entry).line });
        }
        remarks.sort_by_key(|remark| remark.line);
        remarks
    }
}

/// The role that a word is nearly: one of the known ones, or one of the file. Roles that differ on purpose are no such
/// thing: `storage-2` beside `storage`, `tenant-a` beside `tenant-b`.
fn meant<'r>(word: &str, others: impl Iterator<Item = &'r str>) -> Option<&'r str> {
    let letters = word.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let parts: Vec<&str> =
        word.split(|c: char| !c.is_ascii_alphabetic()).filter(|part| !part.is_empty()).collect();
    if letters.len() < LETTERS {
        return None;
    }
    // Of the known ones two typing errors are still that word; others may be as near to each other as they like.
    let known = Role::KNOWN.into_iter().map(|role| (role, 2));
    let near = known.chain(others.map(|role| (role, 1))).filter(|(role, _)| role.len() >= LETTERS);
    let near = near.filter(|(role, _)| !parts.iter().any(|part| part == role) && !is_numbered(role, word));
    let near = near.filter_map(|(role, most)| {
        let distance = strsim::damerau_levenshtein(&letters.to_ascii_lowercase(), &role.to_ascii_lowercase());
        (distance <= most).then_some((distance, role))
    });
    near.min().map(|(_, role)| role)
}

/// Whether two words differ only behind what they have in common, as `tenant-a` and `tenant-b` or `east1` and `east2`.
fn is_numbered(a: &str, b: &str) -> bool {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let rest = |word: &str| word.len() - common;
    // A last letter may stand for a number.
    rest(a) <= 1 && rest(b) <= 1 && !a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, others: &[&str], expected: Option<&str>) {
        assert_eq!(meant(word, others.iter().copied()), expected, "{word} beside {others:?}");
    }

    #[test]
    fn what_was_meant() {
        check("servce", &[], Some("service"));
        check("sevrice", &[], Some("service"));
        check("Service", &[], Some("service"));
        check("servce2", &[], Some("service"));
        check("stroage", &[], Some("storage"));
        check("managment", &[], Some("management"));
        check("tennant", &["tenant"], Some("tenant"));
        check("storage2", &["storage"], None);
        check("storage-a", &["storage"], None);
        check("backup-storage", &["storage"], None);
        check("tenant-a", &["tenant-b", "tenant-c"], None);
        check("east1", &["east2", "west1"], None);
        check("wan", &["lan"], None);
        check("guests", &["guest-wifi", "service"], None);
        check("backup", &["service", "storage"], None);
        check("server", &["service"], None);
        check("public", &["private"], None);
    }

    #[test]
    fn only_what_nobody_reaches() {
        let file = |reach: &str| {
            let text = format!(
                "[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\"]\nreach = {reach}\n\n\
                 [[nic]]\nname = \"eth0\"\nrole = \"servce\"\nsubnets = [\"192.168.56.0/24\"]\n\n\
                 [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n"
            );
            super::super::parse("t.toml", text.as_bytes()).expect("a topology").remarks()
        };
        let message =
            "role `servce` of nic eth0 is one of its own, which nobody reaches: did you mean `service`?";
        assert_eq!(file("[]"), [Remark { message: message.to_owned(), line: 6 }]);
        assert_eq!(file("[\"servce\"]"), []);
    }
}
