//! Why each rule is there: its line in `docs/security.md`, so that there is one text to keep right.

/// The document, as it is when the program is built.
pub(super) const SECURITY: &str = include_str!("../../../docs/security.md");

/// What docs/security.md says of a rule, in one line with its Markdown; `None` for an id that it does not have.
pub(in crate::render) fn reason(id: &str) -> Option<String> {
    let (_, rest) = SECURITY.split_once(&format!("\n- **{id}** "))?;
    let item = rest.lines().enumerate();
    let item = item.take_while(|(number, line)| *number == 0 || line.starts_with("  "));
    Some(item.map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_whole() {
        let check = |id: &str, start: &str, end: &str| {
            let reason = reason(id).unwrap_or_else(|| panic!("no line for {id}"));
            assert!(reason.starts_with(start) && reason.ends_with(end), "{id}: {reason}");
            assert!(!reason.contains("**") && !reason.contains("]("), "{id}: {reason}");
        };
        check("F4", "Forwarded, coming in on a guarded NIC", "one way.");
        check("E3", "Forwarded, IPv6: as E1.", "as E1.");
        check("R2", "On such a pair", "two ways.");
        assert_eq!(reason("F"), None);
        assert_eq!(reason("Z1"), None);
    }
}
