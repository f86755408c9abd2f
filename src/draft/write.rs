//! A draft as a file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ipnet::IpNet;

use super::{Draft, DraftNic, RoleGuess};

const HEAD: &str = "\
# Drafted by `isoplan discover` from what this host has now. Roles are guesses,
# with what they rest on in a comment: read every entry, then `isoplan check` and
# `isoplan plan`.
";

/// The widest line that a comment is broken at.
const WIDTH: usize = 110;

impl Draft {
    /// The file. The same draft gives the same bytes.
    pub fn toml(&self) -> String {
        let mut text = HEAD.to_owned();
        let has_service = self.nics.iter().any(|nic| nic.role == RoleGuess::Service);
        let service = self.role(RoleGuess::Service);
        for network in &self.networks {
            let table = if network.overlay.is_some() { "overlay" } else { "bridge" };
            let _ = write!(text, "\n[[{table}]]\n");
            comment(&mut text, &network.evidence);
            let _ = writeln!(text, "name = \"{}\"", network.name);
            if !network.subnets.is_empty() {
                let _ = writeln!(text, "subnets = {}", list(&network.subnets));
            }
            if let Some((underlay, vni, port)) = &network.overlay {
                let _ = write!(text, "underlay = \"{underlay}\"\nvni = {vni}\nport = {port}\n");
            }
            if network.reaches_service && has_service {
                let _ = writeln!(text, "reach = [\"{service}\"]");
            } else {
                text.push_str("reach = []\n");
            }
        }
        for flat in &self.flats {
            let _ = write!(text, "\n[[flat]]\nname = \"{}\"\nnic = \"{}\"\n", flat.name, flat.nic);
            if has_service {
                let _ = writeln!(text, "reach = [\"{service}\"]");
            }
        }
        for nic in &self.nics {
            self.push_nic(&mut text, nic);
        }
        if let Some(who) = &self.masquerades {
            text.push_str("\n[isolation]\n");
            comment(&mut text, std::slice::from_ref(who));
            text.push_str("masquerade = false\n");
        }
        text
    }

    fn push_nic(&self, text: &mut String, nic: &DraftNic) {
        text.push_str("\n[[nic]]\n");
        comment(text, &nic.evidence);
        let role = self.role(nic.role);
        let _ = write!(text, "name = \"{}\"\nrole = \"{role}\"  # a guess\n", nic.name);
        let _ = writeln!(text, "subnets = {}", list(&nic.subnets));
    }

    /// The word for a role: no network of the file has it.
    pub fn role(&self, role: RoleGuess) -> String {
        let names: BTreeSet<&str> = self.networks.iter().map(|network| network.name.stem()).collect();
        let word = role.as_str();
        if !names.contains(word) {
            return word.to_owned();
        }
        // A role has at most 15 characters.
        let numbered = (1..).map(|number: u32| format!("{}{number}", &word[..4]));
        numbered.into_iter().find(|word| !names.contains(word.as_str())).unwrap_or_default()
    }
}

/// Clauses as comments of a line each, broken where they are long.
fn comment(text: &mut String, clauses: &[String]) {
    for clause in clauses {
        let mut line = "#".to_owned();
        for word in clause.split_whitespace() {
            if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(text, "{line}");
                line = "#  ".to_owned();
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(text, "{line}");
    }
}

/// On one line, or one line each where there are many.
fn list(nets: &[IpNet]) -> String {
    const ON_ONE_LINE: usize = 4;
    let quoted: Vec<String> = nets.iter().map(|net| format!("\"{net}\"")).collect();
    if quoted.len() <= ON_ONE_LINE {
        return format!("[{}]", quoted.join(", "));
    }
    format!("[\n  {},\n]", quoted.join(",\n  "))
}
