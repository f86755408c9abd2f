//! Bytes to a tree: size, encoding and TOML syntax.

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::mistake::{Lines, Mistakes, Refused, Span, quote};

/// The largest file that is read, in bytes.
const SIZE_MAX: usize = 16 << 20;
/// The largest file in which more than the first syntax error is looked for, in bytes.
const RECOVERED: usize = 1 << 20;

/// The file as text, without the byte order mark.
pub(super) fn text<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, Refused> {
    // No TOML begins with a brace.
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return Err(json(file, bytes));
    }
    if bytes.len() > SIZE_MAX {
        let message = format!("the file has {} bytes, more than 16 MiB", bytes.len());
        return Err(Refused::unreadable(file, message, 1, 1, "is this a topology file?"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let offset = error.valid_up_to();
            let (line, column) = place(bytes, offset);
            let message = format!("the file is not UTF-8: byte {offset} (from 0), on line {line}");
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let hint = if utf16 { "it looks like UTF-16: save it as UTF-8" } else { "is this a TOML file?" };
            return Err(Refused::unreadable(file, message, line, column, hint));
        }
    };
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        let (line, column) = place(bytes, offset);
        let message = format!("the file has a NUL: byte {offset} (from 0), on line {line}");
        return Err(Refused::unreadable(file, message, line, column, "is this a TOML file?"));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A file that is JSON: what it says it is stands in its first lines.
fn json(file: &str, bytes: &[u8]) -> Refused {
    let head = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes));
    let (what, hint) = if head.contains("\"saved-plan\"") {
        ("a saved plan", "`isoplan plan FILE` shows it, `isoplan apply FILE` carries it out")
    } else if head.contains("\"snapshot\"") {
        ("a snapshot of a host", "a topology is planned against it: isoplan plan --against FILE TOPOLOGY")
    } else {
        ("JSON", "a topology is TOML; `isoplan plan FILE` shows a plan that was saved")
    };
    Refused::unreadable(file, format!("the file is {what}, not a topology"), 1, 1, hint)
}

/// Line and column of a byte before which all is UTF-8, from 1.
fn place(bytes: &[u8], offset: usize) -> (u32, u32) {
    let before = bytes.get(..offset).and_then(|before| std::str::from_utf8(before).ok()).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    let column = last.trim_start_matches('\u{feff}').chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}

/// What the TOML parser says (how it starts), in words for somebody who has the file before them, a
/// hint, and whether what comes after it is mostly a consequence.
type Words = (&'static str, &'static str, &'static str, bool);

const UNQUOTED: &str = "the value is not in quotes";
const MISSING_COMMA: &str = "a `,` or `]` is missing in a list";
const OPEN_LIST: Words =
    ("", "the list before this line is not closed", "a `]` is missing, or a `,`, or quotes", true);
const NO_VALUE: Words = ("", "the key has no value", "such as: name = \"docker0\"", false);

const WORDS: &[Words] = &[
    ("invalid basic string, expected `\"`", "the string is not closed", "`\"` ends it", false),
    (
        "invalid basic string",
        "the string has a control character",
        "leave it out, or write it as an escape",
        false,
    ),
    ("invalid literal string, expected `'`", "the string is not closed", "`'` ends it", false),
    ("invalid multi-line", "the string of several lines is not closed", "three quotes end it", true),
    ("string values must be quoted", UNQUOTED, "such as: \"docker0\"; without: true, false, numbers", false),
    ("invalid boolean", UNQUOTED, "`true` and `false` are written in lower case", false),
    ("invalid float", UNQUOTED, "such as: \"docker0\"", false),
    ("unexpected leading zero", "a number starts with 0", "leave the 0 out", false),
    ("unclosed array table", "the table header is not closed", "`]]` ends it", false),
    ("unclosed table", "the table header is not closed", "`]` ends it", false),
    ("unclosed array", "the list is not closed", "`]` ends it", true),
    ("unexpected `=` in array", "the list before this is not closed", "`]` ends it", true),
    ("missing comma between array elements", MISSING_COMMA, "", true),
    ("invalid inline table element", "a `,` or `}` is missing in a table in braces", "", true),
    ("missing comma between key-value pairs", "a `,` or `}` is missing in a table in braces", "", true),
    ("unclosed inline table", "the table in braces is not closed", "`}` ends it", true),
    (
        "key with no value",
        "this is no `key = value`",
        "such as: name = \"docker0\"; comments start with `#`",
        false,
    ),
    (
        "invalid key-value pair",
        "this is no `key = value`",
        "a topology file is TOML: isoplan does not read JSON or YAML",
        false,
    ),
    ("missing value", "the key has no value", "such as: name = \"docker0\"", false),
    ("unexpected key or value", "something follows the value", "one `key = value` on a line", false),
    ("unexpected content", "something follows the value", "one `key = value` on a line", false),
    (
        "missing escaped value",
        "there is no such escape in a string",
        "a backslash itself is written twice",
        false,
    ),
    ("invalid unquoted key", "a key has only letters, digits, `-` and `_`", "", false),
    ("unquoted keys cannot be empty", "the key is empty", "", false),
    (
        "cannot recurse further",
        "the value is nested too deeply",
        "a topology has lists of texts and numbers, no deeper",
        true,
    ),
    ("recursion limit", "the key has too many parts", "a topology has at most one `.` in a key", true),
];

/// The tree of the file, where its syntax leaves no doubt about it.
pub(super) fn tree<'s>(source: &'s str, mistakes: &mut Mistakes) -> Option<Spanned<DeTable<'s>>> {
    let (tree, mut errors) = if source.len() > RECOVERED {
        match DeTable::parse(source) {
            Ok(tree) => return Some(tree),
            Err(error) => (None, vec![error]),
        }
    } else {
        let (tree, errors) = DeTable::parse_recoverable(source);
        (Some(tree), errors)
    };
    let span_of =
        |error: &Error| error.span().map_or(Span { start: source.len(), end: source.len() }, Span::from);
    errors.sort_by_key(span_of);
    let lines = Lines::of(source);
    let (mut doubt, mut broken, mut last_line, mut lost_until) = (false, false, 0, 0);
    for error in &errors {
        let span = span_of(error);
        let (line, start) = lines.at(span.start);
        if error.message() == "duplicate key" {
            // In what a syntax error broke, and in a table that is there twice, keys are no surprise.
            if broken || span.start < lost_until {
                continue;
            }
            let rest = source.get(start..).unwrap_or_default();
            let is_header = rest.trim_start().starts_with('[');
            duplicate(source, span, is_header, mistakes);
            if is_header {
                // Of the second table everything is lost; whatever refers to it would be reported.
                doubt = true;
                let after = source.get(span.end..).unwrap_or_default();
                lost_until = after.find("\n[").map_or(source.len(), |next| span.end + next);
            }
        } else if last_line != line {
            // What follows on the line is mostly a consequence.
            last_line = line;
            (doubt, broken) = (true, true);
            mistakes.no_toml();
            let Some((_, message, hint, ends)) = words(error.message(), source, start, span) else {
                let message = error.message().split(", expected").next().unwrap_or_default();
                mistakes.add(span, format!("not TOML: {message}"));
                continue;
            };
            let found = mistakes.add(span, *message);
            if !hint.is_empty() {
                found.hint(*hint);
            }
            if *ends {
                break;
            }
        }
    }
    tree.filter(|_| !doubt)
}

/// The words for a message of the parser; `start` is that of the line.
fn words(theirs: &str, source: &str, start: usize, span: Span) -> Option<&'static Words> {
    let found = WORDS.iter().find(|(begins, ..)| theirs.starts_with(begins))?;
    let starts_line = source.get(start..span.start).is_some_and(|before| before.trim().is_empty());
    let nothing =
        source.get(span.start..).is_none_or(|after| after.trim_start_matches(' ').starts_with(['\r', '\n']));
    Some(match found.1 {
        // Only within a list does a line start with a value.
        UNQUOTED | MISSING_COMMA if starts_line => &OPEN_LIST,
        UNQUOTED if nothing => &NO_VALUE,
        _ => found,
    })
}

fn duplicate(source: &str, span: Span, is_header: bool, mistakes: &mut Mistakes) {
    let key = source.get(span.start..span.end).unwrap_or_default().trim_matches(['"', '\'']);
    let found = mistakes.add(span, format!("the key {} is there twice", quote(key)));
    match key {
        "bridge" | "overlay" | "flat" | "nic" | "allow" if is_header => {
            found.hint(format!("each one in double brackets: [[{key}]]"))
        }
        _ => found.hint("leave one out"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let mut mistakes = Mistakes::default();
        let tree = tree(source, &mut mistakes);
        let refused = mistakes.refuse("f", source);
        let found: Vec<&str> = refused.mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(found, expected, "{source}");
        assert_eq!(tree.is_none(), !expected.is_empty(), "{source}");
    }

    #[test]
    fn syntax_errors_in_words() {
        check("a = 1", &[]);
        check("a = \"x", &["the string is not closed"]);
        check("a = 'x", &["the string is not closed"]);
        check("a = \"\"\"x", &["the string of several lines is not closed"]);
        check("a = \"\\q\"", &["there is no such escape in a string"]);
        check("a = \"\u{1}\"", &["the string has a control character"]);
        check("a = x", &["the value is not in quotes"]);
        check("a = True", &["the value is not in quotes"]);
        check("a = 10.0.0.0", &["the value is not in quotes"]);
        check("a = 0X10", &["not TOML: radix must be lowercase"]);
        check("a = \nb = 1", &["the key has no value"]);
        check("a 1", &["this is no `key = value`"]);
        check("{}", &["this is no `key = value`"]);
        check("a = 'x' b = 2", &["something follows the value"]);
        check("a = 010", &["a number starts with 0"]);
        check("a = [1", &["the list is not closed"]);
        check("a = ['x' 'y']", &["a `,` or `]` is missing in a list"]);
        check("a = [1\nb = 2", &["the list before this line is not closed"]);
        check("a = [1,\nb = 2\nc = 3", &["the list before this line is not closed"]);
        check("a = {b = 'x' c = 'y'}", &["a `,` or `}` is missing in a table in braces"]);
        check("[a", &["the table header is not closed"]);
        check("[[a]", &["the table header is not closed"]);
        check("\u{e4} = 1", &["a key has only letters, digits, `-` and `_`"]);
        check(&format!("a = {}", "[".repeat(1000)), &["the value is nested too deeply"]);
        check(&format!("a{} = 1", ".a".repeat(1000)), &["the key has too many parts"]);
        // One for each line.
        check("a = x\nb = y", &["the value is not in quotes"; 2]);
        // All keys of a table that is there twice are lost; that is one mistake.
        check("[a]\nb = 1\n[a]\nb = 2\nb = 3", &["the key `a` is there twice"]);
    }

    #[test]
    fn a_key_twice_leaves_a_tree() {
        let mut mistakes = Mistakes::default();
        assert!(tree("a = 1\na = 2", &mut mistakes).is_some());
        assert_eq!(mistakes.refuse("f", "a = 1\na = 2").mistakes.len(), 1);
    }

    #[test]
    fn what_is_not_text() {
        let place = |bytes: &[u8]| match text("f", bytes) {
            Ok(_) => None,
            Err(refused) => refused.mistakes.first().map(|mistake| (mistake.line, mistake.column)),
        };
        assert_eq!(place(b"a = 1"), None);
        assert_eq!(place(b"a = 1\n\xc3\xa4\xff"), Some((2, 2)));
        assert_eq!(place(b"\xef\xbb\xbfa\0"), Some((1, 2)));
        assert_eq!(text("f", b"\xef\xbb\xbfa"), Ok("a"));
        assert_eq!(place(b"\n {\"a\": 1}"), Some((1, 1)));
    }
}
