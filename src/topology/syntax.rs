//! Bytes to a tree: size, encoding and TOML syntax.

use toml::Spanned;
use toml::de::DeTable;

use super::mistake::{Lines, Mistakes, Refused, Span, quote};

/// The largest file that is read, in bytes.
const SIZE_MAX: usize = 16 << 20;
/// The largest file in which more than the first syntax error is looked for, in bytes.
const RECOVERED: usize = 1 << 20;

/// The file as text, without the byte order mark.
pub(super) fn text<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, Refused> {
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

/// Line and column of a byte before which all is UTF-8, from 1.
fn place(bytes: &[u8], offset: usize) -> (u32, u32) {
    let before = bytes.get(..offset).and_then(|before| std::str::from_utf8(before).ok()).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    let column = last.trim_start_matches('\u{feff}').chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}

/// The tree of the file, where its syntax leaves no doubt about it.
pub(super) fn tree<'s>(source: &'s str, mistakes: &mut Mistakes) -> Option<Spanned<DeTable<'s>>> {
    let (tree, errors) = if source.len() > RECOVERED {
        match DeTable::parse(source) {
            Ok(tree) => return Some(tree),
            Err(error) => (None, vec![error]),
        }
    } else {
        let (tree, errors) = DeTable::parse_recoverable(source);
        (Some(tree), errors)
    };
    let mut doubt = false;
    let mut last_line = 0;
    let lines = Lines::of(source);
    for error in errors {
        let span = error.span().map_or(Span { start: source.len(), end: source.len() }, Span::from);
        let (line, start) = lines.at(span.start);
        if error.message() == "duplicate key" {
            let key = source.get(span.start..span.end).unwrap_or_default().trim_matches(['"', '\'']);
            mistakes.add(span, format!("the key {} is there twice", quote(key))).hint("leave one out");
            // Of a second table everything is lost, so that whatever refers to it would be reported.
            doubt |= source.get(start..).unwrap_or_default().trim_start().starts_with('[');
        } else if last_line != line {
            // What follows on the line is mostly a consequence.
            last_line = line;
            doubt = true;
            let found = mistakes.add(span, message(error.message()));
            if let Some(hint) = hint(error.message()) {
                found.hint(hint);
            }
        }
    }
    tree.filter(|_| !doubt)
}

fn message(text: &str) -> String {
    text.to_owned()
}

fn hint(_text: &str) -> Option<&'static str> {
    None
}
