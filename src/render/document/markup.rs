//! Sentences with code between backticks, for Markdown and for HTML.

use std::fmt::Write as _;

/// Lines of Markdown are not longer than this where words allow.
const WIDTH: usize = 112;

/// What stands for something else in Markdown, escaped (CommonMark, "Backslash escapes"). An underscore within a
/// word stands for itself.
pub(in crate::render) fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let within =
            c == '_' && before.is_alphanumeric() && letters.peek().is_some_and(|c| c.is_alphanumeric());
        if "\\`*_[]<>|#~&".contains(c) && !within {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
        before = c;
    }
    out
}

/// Text as a code span: between so many backticks that none in it ends it.
pub(in crate::render) fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A sentence in Markdown: what is between backticks stays, the rest is escaped.
pub(in crate::render) fn markdown(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in spans(text).enumerate() {
        if index % 2 == 1 {
            out.push_str(&code(part));
        } else {
            out.push_str(&escaped(part));
        }
    }
    out
}

/// A sentence in HTML: what is between backticks is code, the rest is escaped.
pub(in crate::render) fn html(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in spans(text).enumerate() {
        let (open, close) = if index % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        out.push_str(open);
        for c in part.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
        }
        out.push_str(close);
    }
    out
}

/// Text and code in turns, text first. A backtick without its partner is text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    let pairs = text.matches('`').count() / 2 * 2 + 1;
    text.splitn(pairs, '`')
}

/// Markdown in lines of a readable width, each further one indented. No line starts with what would make it an item,
/// a heading or a quote, and no code span is broken.
pub(in crate::render) fn wrapped(markdown: &str, indent: usize) -> String {
    let mut text = String::new();
    let mut column = indent;
    for word in words(markdown) {
        let length = word.chars().count();
        let starts = |c: char| "-+#>=~|".contains(c);
        let is_number = word.trim_end_matches(['.', ')']).parse::<u64>().is_ok();
        let stays = word.starts_with(starts) || is_number || text.is_empty();
        if !stays && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if !text.is_empty() {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text
}

/// Words; a code span is one, with what stands directly beside it.
fn words(markdown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut in_code) = (0, false);
    for (at, c) in markdown.char_indices() {
        match c {
            '`' => in_code = !in_code,
            ' ' if !in_code => {
                found.extend(Some(&markdown[start..at]).filter(|word| !word.is_empty()));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.extend(Some(&markdown[start..]).filter(|word| !word.is_empty()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_themselves() {
        assert_eq!(markdown("br-* and from_service, `br-*`"), "br-\\* and from_service, `br-*`");
        assert_eq!(escaped("_x_ a\nb <i>"), "\\_x\\_ a b \\<i\\>");
        assert_eq!(escaped("~~x~~ &lt;"), "\\~\\~x\\~\\~ \\&lt;");
        assert_eq!(code("a`b"), "`` a`b ``");
        assert_eq!(markdown("a ` b"), "a \\` b");
        assert_eq!(html("<b> `a<b` \"'&"), "&lt;b&gt; <code>a&lt;b</code> &quot;&#39;&amp;");
    }

    #[test]
    fn a_line_never_starts_like_an_item() {
        let text = format!("{}- 10 `one code span that is long` 7. end", "word ".repeat(22));
        let wrapped = wrapped(&text, 2);
        assert!(wrapped.lines().count() > 1, "{wrapped}");
        for line in wrapped.lines().skip(1) {
            assert!(line.starts_with("  ") && !line.trim_start().starts_with(['-', '7', '1']), "{wrapped}");
        }
        assert!(wrapped.contains("`one code span that is long`"), "{wrapped}");
    }
}
