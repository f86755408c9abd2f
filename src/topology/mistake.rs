//! What is wrong with a file, and where.

use std::collections::BTreeMap;
use std::fmt;

/// Mistakes kept of one file; the rest are only counted.
const KEPT: usize = 100_000;
/// Comparisons spent on suggestions for one file, so that a large file of typing errors stays fast.
const GUESSES: usize = 200_000;
/// Characters of a text from the file that a message repeats.
const QUOTED: usize = 60;
/// Names that a hint lists.
const LISTED: usize = 8;

/// Bytes of the source from the first to the one before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong: a clause, without a period.
    pub message: String,
    /// Where, from 1.
    pub line: u32,
    /// Where in the line, in characters from 1.
    pub column: u32,
    /// What the marked text is.
    pub label: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
    /// Nothing where no text can be shown.
    pub(super) span: Option<Span>,
}

/// Another place that a mistake has to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Where, from 1.
    pub line: u32,
    /// Where in the line, in characters from 1.
    pub column: u32,
    /// What it has to do with it.
    pub label: String,
    pub(super) span: Span,
}

/// A file in which something is wrong, and all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The name of the file, as the user gave it.
    pub file: String,
    /// At least one, by place in the file.
    pub mistakes: Vec<Mistake>,
    /// Mistakes beyond those that were kept.
    pub(super) dropped: usize,
    /// Whether it is no TOML, so that it may be another kind of file.
    pub(super) no_toml: bool,
    /// The text that the spans refer to.
    pub(super) source: String,
}

impl Refused {
    /// A file that cannot be read as text at all.
    pub(super) fn unreadable(file: &str, message: String, line: u32, column: u32, hint: &str) -> Self {
        let hint = Some(hint.to_owned());
        let mistake = Mistake { message, line, column, label: None, hint, related: Vec::new(), span: None };
        Self {
            file: file.to_owned(),
            mistakes: vec![mistake],
            dropped: 0,
            no_toml: false,
            source: String::new(),
        }
    }

    /// How many mistakes the file has.
    pub const fn count(&self) -> usize {
        self.mistakes.len() + self.dropped
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has {}", self.file, count(self.count(), "error"))
    }
}

impl std::error::Error for Refused {}

/// A mistake while the file is read, before lines and columns are known.
#[derive(Debug, Default)]
pub(super) struct Found {
    message: String,
    span: Span,
    label: Option<String>,
    hint: Option<String>,
    related: Vec<At<String>>,
}

impl Found {
    pub(super) fn label(&mut self, text: impl Into<String>) -> &mut Self {
        self.label = Some(text.into());
        self
    }

    pub(super) fn hint(&mut self, text: impl Into<String>) -> &mut Self {
        self.hint = Some(text.into());
        self
    }

    pub(super) fn related(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.related.push(At { value: label.into(), span });
        self
    }
}

/// The mistakes of a file while it is read.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: Vec<Found>,
    dropped: usize,
    no_toml: bool,
    spare: Found,
    guesses: usize,
}

impl Mistakes {
    /// Notes a mistake; the caller adds label and hint to it.
    pub(super) fn add(&mut self, span: Span, message: impl Into<String>) -> &mut Found {
        if self.found.len() >= KEPT {
            self.dropped += 1;
            self.spare = Found::default();
            return &mut self.spare;
        }
        let found = Found { message: message.into(), span, ..Found::default() };
        self.found.push(found);
        match self.found.last_mut() {
            Some(last) => last,
            None => &mut self.spare,
        }
    }

    /// Notes that a mistake is one of syntax.
    pub(super) fn no_toml(&mut self) {
        self.no_toml = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The candidate that `word` most likely stands for.
    pub(super) fn guess<'c>(
        &mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<&'c str> {
        let length = word.chars().count();
        if length > QUOTED {
            return None;
        }
        let limit = (length / 3).max(1);
        let mut best = None;
        for candidate in candidates {
            self.guesses += 1;
            if self.guesses > GUESSES {
                break;
            }
            if candidate.len().abs_diff(word.len()) > 4 * limit || candidate == word {
                continue;
            }
            let distance = if candidate.eq_ignore_ascii_case(word) {
                0
            } else {
                strsim::damerau_levenshtein(word, candidate)
            };
            if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// The mistakes with lines and columns, by place.
    pub(super) fn refuse(mut self, file: &str, source: &str) -> Refused {
        self.found.sort_by(|a, b| (a.span, &a.message).cmp(&(b.span, &b.message)));
        self.found.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        let places = places(source, &self.found);
        let place = |span: Span| places.get(&span.start).copied().unwrap_or((1, 1));
        let mistakes = self.found.into_iter().map(|found| {
            let (line, column) = place(found.span);
            let related = found.related.into_iter().map(|At { value: label, span }| {
                let (line, column) = place(span);
                Related { line, column, label, span }
            });
            Mistake {
                message: found.message,
                line,
                column,
                label: found.label,
                hint: found.hint,
                related: related.collect(),
                span: Some(found.span),
            }
        });
        Refused {
            file: file.to_owned(),
            mistakes: mistakes.collect(),
            dropped: self.dropped,
            no_toml: self.no_toml,
            source: source.to_owned(),
        }
    }
}

/// Where the lines of a text start.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(source: &str) -> Self {
        let ends = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect())
    }

    /// The line of a byte, from 1, and where it starts.
    pub(super) fn at(&self, offset: usize) -> (u32, usize) {
        let line = self.0.partition_point(|start| *start <= offset).max(1);
        (u32::try_from(line).unwrap_or(u32::MAX), self.0.get(line - 1).copied().unwrap_or(0))
    }

    /// Where a line starts, counted from 1; nothing after the last.
    pub(super) fn start(&self, line: u32) -> Option<usize> {
        self.0.get((line as usize).checked_sub(1)?).copied()
    }
}

/// Line and column of every byte that a mistake starts at; one pass, however long a line is.
fn places(source: &str, found: &[Found]) -> BTreeMap<usize, (u32, u32)> {
    let lines = Lines::of(source);
    let all = found.iter().flat_map(|f| std::iter::once(f.span).chain(f.related.iter().map(|r| r.span)));
    let mut places: BTreeMap<usize, (u32, u32)> = all.map(|span| (span.start, (1, 1))).collect();
    let (mut last_offset, mut last_column) = (0, 1_u32);
    for (offset, place) in &mut places {
        let (line, line_start) = lines.at(*offset);
        if line_start > last_offset {
            (last_offset, last_column) = (line_start, 1);
        }
        let between = source.get(last_offset..*offset).unwrap_or_default().chars().count();
        last_column = last_column.saturating_add(u32::try_from(between).unwrap_or(u32::MAX));
        last_offset = *offset;
        *place = (line, last_column);
    }
    places
}

/// A text from the file in backticks: cut where it is long, without characters that a terminal obeys.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (n, c) in text.chars().enumerate() {
        if n == QUOTED {
            quoted.push_str("...");
            break;
        }
        push_shown(&mut quoted, c);
    }
    quoted.push('`');
    quoted
}

/// Appends a character as a terminal can show it.
pub(super) fn push_shown(text: &mut String, c: char) {
    // Bidirectional controls and invisible characters, which would show another order than the file's.
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{61c}' | '\u{ad}');
    if c.is_control() || hidden {
        text.extend(c.escape_default());
    } else {
        text.push(c);
    }
}

/// `1 error`, `2 errors`.
pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The first few of a list, in words; `none` where it is empty.
pub(super) fn listed<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut items = items.into_iter();
    let first: Vec<&str> = items.by_ref().take(LISTED).collect();
    match (first.is_empty(), items.count()) {
        (true, _) => "none".to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&str>) {
        let found = Mistakes::default().guess(word, ["service", "storage", "management"]);
        assert_eq!(found, expected, "{word}");
    }

    #[test]
    fn guesses() {
        check("sevrice", Some("service"));
        check("Storage", Some("storage"));
        check("stroage", Some("storage"));
        check("backup", None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }

    #[test]
    fn quotes_what_a_terminal_would_obey() {
        assert_eq!(quote("eth0"), "`eth0`");
        assert_eq!(quote("\u{1b}[31m"), "`\\u{1b}[31m`");
        assert_eq!(quote("a\u{202e}b"), "`a\\u{202e}b`");
        assert_eq!(quote(&"x".repeat(61)), format!("`{}...`", "x".repeat(60)));
    }

    #[test]
    fn places_count_characters() {
        let mut mistakes = Mistakes::default();
        let source = "ä = 1\nöö = 2\r\nx";
        for needle in ["1", "2", "x"] {
            let start = source.find(needle).unwrap_or_default();
            mistakes.add(Span { start, end: start + 1 }, "wrong");
        }
        let refused = mistakes.refuse("f", source);
        let places: Vec<_> = refused.mistakes.iter().map(|m| (m.line, m.column)).collect();
        assert_eq!(places, [(1, 5), (2, 6), (3, 1)]);
    }
}
