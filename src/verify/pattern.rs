//! Patterns of names of probes: on the command line, and in what an approach claims.

/// Whether a whole name fits a pattern: `*` stands for any number of characters, `?` for one, everything else
/// for itself.
///
/// ```
/// use isoplan::verify::pattern::fits;
/// assert!(fits("*/udp?", "docker0:eth1/udp4"));
/// assert!(!fits("*/udp?", "docker0:eth1/udp4+nic-down"));
/// ```
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last `*`, and where what it stands for ends so far: it takes one character more when the rest does
    // not fit.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, end)) = star else { return false };
                star = Some((at, end + 1));
                p = at + 1;
                n = end + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "docker0:eth1/udp4", true),
            ("*/udp?", "docker0:eth1/udp4", true),
            ("*/udp?", "docker0:eth1/udp", false),
            ("*/udp?", "docker0:eth1/udp4+nic-down", false),
            ("*+nic-*", "docker0:eth1/udp4+nic-down", true),
            ("docker0:eth1/udp4", "docker0:eth1/udp4", true),
            ("docker0:eth1/udp4", "docker0:eth1/udp6", false),
            ("*a*b", "xaxbxaxb", true),
            ("*a*b", "xaxbxaxbx", false),
            ("a*a", "a", false),
            ("?*?", "ab", true),
            ("?*?", "a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
