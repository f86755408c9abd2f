//! Texts of others in Markdown: nothing of them is taken for Markdown, HTML, a mention or a command of a forge.
//!
//! What a file or a host says goes into code spans and fences, where CommonMark sees text alone and where GitHub
//! and GitLab look for no `@mention`, `#reference` or `/command`. A backslash would not do: both look for mentions
//! in what is rendered.

use std::fmt::Write as _;

/// A text of others is not longer than this, in characters.
const LONGEST: usize = 300;

/// Characters that a reader does not see, or that turn the order of others around (Unicode, "Bidirectional
/// Algorithm", UAX #9).
const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A line of a fence is not longer than this, in characters.
const LONGEST_LINE: usize = 2000;

/// On one line, without what cannot be seen.
fn plain(text: &str, longest: usize) -> String {
    let seen = |c: char| if c.is_control() || is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut plain: String = text.chars().take(longest).map(seen).collect();
    if text.chars().nth(longest).is_some() {
        plain.push('…');
    }
    plain
}

/// A line of a fence.
pub(super) fn line(text: &str) -> String {
    plain(text, LONGEST_LINE)
}

/// How many backticks stand together at most.
pub(super) fn backticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// As a code span (CommonMark, "Code spans"); nothing for nothing.
pub(super) fn code(text: &str) -> String {
    let text = plain(text, LONGEST);
    if text.is_empty() {
        return text;
    }
    let fence = "`".repeat(backticks(&text) + 1);
    let at_the_edge = ['`', ' '];
    let pad = if text.starts_with(at_the_edge) || text.ends_with(at_the_edge) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// The same in a table, whose cells end at a `|` wherever it stands (GFM, "Tables").
pub(super) fn cell(text: &str) -> String {
    code(&text.replace('|', "¦").replace('\\', "/"))
}

/// Whether a word means itself alone, wherever it stands behind another.
fn is_plain(word: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '\'' | '/' | '.' | ',' | '=' | '%');
    // A time of day.
    if word.chars().all(|c| c.is_ascii_digit() || c == ':') {
        return true;
    }
    word.starts_with(char::is_alphanumeric)
        && word.chars().all(harmless)
        && !word.contains("//")
        && !word.starts_with("www.")
}

/// A sentence: what stands between backticks and words that could mean anything but themselves become code spans,
/// `->` an arrow.
pub(super) fn sentence(text: &str) -> String {
    let text = plain(text, 4 * LONGEST);
    let mut out = String::with_capacity(text.len() + 16);
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            out.push_str(&code(part));
        } else {
            push_words(&mut out, part);
        }
    }
    out
}

fn push_words(out: &mut String, text: &str) {
    let is_start = out.is_empty();
    // Where a code span ends and the next word begins at once, that is so here too.
    if text.starts_with(' ') && !is_start {
        out.push(' ');
    }
    for (at, word) in text.split_whitespace().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        if word == "->" {
            out.push('→');
            continue;
        }
        let (open, rest) = word.strip_prefix('(').map_or(("", word), |rest| ("(", rest));
        let core = rest.trim_end_matches(['.', ',', ';', ':', ')']);
        let close = &rest[core.len()..];
        // A number with a point in front would begin a list.
        let is_first_number =
            is_start && at == 0 && core.starts_with(|c: char| c.is_ascii_digit()) && !close.is_empty();
        // Behind a code span stands what ends the sentence.
        let is_end = core.is_empty() && open.is_empty() && at == 0 && !is_start;
        if is_end || (is_plain(core) && !is_first_number) {
            let _ = write!(out, "{open}{core}{close}");
        } else {
            let _ = write!(out, "{open}{}{close}", code(core));
        }
    }
    if text.ends_with(' ') && !text.trim().is_empty() {
        out.push(' ');
    }
}

/// A fence around lines, longer than any run of backticks in them (CommonMark, "Fenced code blocks").
pub(super) fn fence(longest: usize) -> String {
    "`".repeat(longest.max(2) + 1)
}

/// The first line: a comment of HTML that nobody sees and that a bot finds its own text by. What a comment or its
/// end could be made of is written as `%XX` (HTML Living Standard, "Comments").
pub(super) fn marker(verb: &str, words: &[&str]) -> String {
    let mut marker = format!("<!-- isoplan {verb}");
    for word in words.iter().filter(|word| !word.is_empty()) {
        marker.push(' ');
        let mut last = b'-';
        for byte in word.bytes() {
            let is_kept = byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'_' | b'/')
                || (byte == b'-' && last != b'-');
            if is_kept {
                marker.push(char::from(byte));
            } else {
                let _ = write!(marker, "%{byte:02X}");
            }
            last = if is_kept { byte } else { b'%' };
        }
    }
    marker.push_str(" -->\n");
    marker
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_whatever_is_in_them() {
        let check = |text: &str, expected: &str| assert_eq!(code(text), expected, "{text:?}");
        check("docker0", "`docker0`");
        check("@octocat", "`@octocat`");
        check("a`b", "``a`b``");
        check("`", "`` ` ``");
        check("a``b```", "```` a``b``` ````");
        check("a\nb\u{202e}c", "`a\u{fffd}b\u{fffd}c`");
        check(" a", "`  a `");
        check("", "");
        assert_eq!(cell("a|b\\"), "`a¦b/`");
        assert!(code(&"x".repeat(10_000)).len() < 400);
    }

    #[test]
    fn sentences_keep_their_words() {
        let check = |text: &str, expected: &str| assert_eq!(sentence(text), expected, "{text:?}");
        check("Not on this host now: br-web, eth1.", "Not on this host now: br-web, eth1.");
        check("docker0 -> eth1 (storage) 12 (tcp 2049: 10).", "docker0 → eth1 (storage) 12 (tcp 2049: 10).");
        check("net/ipv4/ip_forward and br-* (see @all).", "`net/ipv4/ip_forward` and `br-*` (see `@all`).");
        check("`nft flush ruleset` by others", "`nft flush ruleset` by others");
        check("run `a`, then `b`.", "run `a`, then `b`.");
        check("1. a", "`1`. a");
        check("/close this", "`/close` this");
        check("- a", "`-` a");
        check("<b> http://x www.x.org #1 !2 ~l", "`<b>` `http://x` `www.x.org` `#1` `!2` `~l`");
        check(
            "a\n\n# b",
            "a\u{fffd}\u{fffd}# b".replace("a\u{fffd}\u{fffd}#", "`a\u{fffd}\u{fffd}#`").as_str(),
        );
    }

    #[test]
    fn markers_end_where_they_should() {
        let check = |word: &str, expected: &str| {
            assert_eq!(marker("diff", &[word]), format!("<!-- isoplan diff{expected} -->\n"), "{word:?}");
        };
        check("topology.toml", " topology.toml");
        check("a-->b", " a-%2D%3Eb");
        check("--!>", " %2D-%21%3E");
        check("a b\n", " a%20b%0A");
        check("-", " %2D");
        check("", "");
    }
}
