//! Mistakes as text, with the lines that they are in.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::mistake::{Lines, Mistake, Refused, Span, count, push_shown};

/// Mistakes shown; of the rest the number.
const SHOWN: usize = 50;
/// The same where the file is no TOML: it may be another kind of file, and they follow from each other.
const SHOWN_OF_SYNTAX: usize = 5;
/// Lines between two places that are still shown in one piece.
const NEAR: u32 = 6;
/// Bytes of a line that are shown whole.
const WHOLE: usize = 1000;
/// Bytes shown before and after the place in a longer line.
const AROUND: usize = 200;
/// The narrowest terminal that a source line is fitted to.
const NARROWEST: usize = 40;

/// A marked place of a mistake.
struct Mark<'m> {
    line: u32,
    column: u32,
    span: Span,
    kind: AnnotationKind,
    label: Option<&'m str>,
}

impl Refused {
    /// Every mistake with its place, the text underlined, and a hint; then how many there are.
    ///
    /// Ends with a newline. `width` is that of the terminal, in columns.
    pub fn render(&self, color: bool, width: usize) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(width.max(NARROWEST));
        let lines = Lines::of(&self.source);
        let file = shown(&self.file);
        let mut text = String::new();
        let (at_most, question) =
            if self.no_toml { (SHOWN_OF_SYNTAX, "; is this a topology file?") } else { (SHOWN, "") };
        for mistake in self.mistakes.iter().take(at_most) {
            let mut places = Vec::new();
            let mut rendered = renderer.render(&[self.group(mistake, &file, &lines, &mut places)]);
            for (counted, place) in places {
                rendered = rendered.replace(&counted, &place);
            }
            text.push_str(&rendered);
            text.push_str("\n\n");
        }
        let hidden = self.count().saturating_sub(at_most);
        if hidden > 0 {
            text.push_str(&format!("and {hidden} more{question}\n\n"));
        }
        text.push_str(&format!("{}; nothing was planned.\n", count(self.count(), "error")));
        text
    }

    /// One mistake. Adds to `places` what is to be replaced once it is text: the place that was counted
    /// in a part of a line, by that in the line.
    fn group<'m>(
        &'m self,
        mistake: &'m Mistake,
        file: &'m str,
        lines: &Lines,
        places: &mut Vec<(String, String)>,
    ) -> Group<'m> {
        let mut group = Group::with_title(Level::ERROR.primary_title(shown(&mistake.message)));
        match mistake.span {
            None => {
                let (line, column) = (mistake.line as usize, mistake.column as usize);
                group = group.element(Origin::path(file).line(line).char_column(column));
            }
            Some(span) => {
                let first = Mark {
                    line: mistake.line,
                    column: mistake.column,
                    span,
                    kind: AnnotationKind::Primary,
                    label: mistake.label.as_deref(),
                };
                let related = mistake.related.iter().map(|related| Mark {
                    line: related.line,
                    column: related.column,
                    span: related.span,
                    kind: AnnotationKind::Context,
                    label: Some(&related.label),
                });
                for piece in pieces(first, related.collect()) {
                    group = self.piece(group, file, lines, &piece, places);
                }
            }
        }
        match &mistake.hint {
            Some(hint) => group.element(Level::HELP.with_name("hint").message(shown(hint))),
            None => group,
        }
    }

    /// Appends lines of the source that stand close together.
    fn piece<'m>(
        &'m self,
        group: Group<'m>,
        file: &'m str,
        lines: &Lines,
        marks: &[Mark<'m>],
        places: &mut Vec<(String, String)>,
    ) -> Group<'m> {
        let first = marks.iter().map(|mark| mark.line).min().unwrap_or(1);
        let last = marks.iter().map(|mark| mark.line).max().unwrap_or(1);
        let from = lines.start(first).unwrap_or(0);
        let to = lines.start(last + 1).unwrap_or(self.source.len());
        let text = self.source.get(from..to).unwrap_or_default();
        if text.lines().all(|line| line.len() <= WHOLE) {
            let snippet = Snippet::source(text).path(file).line_start(first as usize);
            return group.element(snippet.annotations(marks.iter().map(|mark| annotation(mark, text, from))));
        }
        marks.iter().fold(group, |group, mark| {
            let (from, to) = self.window(mark, lines);
            let text = self.source.get(from..to).unwrap_or_default();
            let place = format!("{file}:{}:{}", mark.line, mark.column);
            let before = self.source.get(from..mark.span.start).unwrap_or_default().chars().count();
            places.push((format!("{place}:{}:{}", mark.line, before + 1), place.clone()));
            let snippet = Snippet::source(text).path(place).line_start(mark.line as usize);
            group.element(snippet.annotation(annotation(mark, text, from)))
        })
    }

    /// The part of a long line around a mark.
    fn window(&self, mark: &Mark<'_>, lines: &Lines) -> (usize, usize) {
        let start = lines.start(mark.line).unwrap_or(0);
        let end = lines.start(mark.line + 1).unwrap_or(self.source.len());
        let from = boundary(&self.source, mark.span.start.saturating_sub(AROUND).max(start));
        (from, boundary(&self.source, (mark.span.start + AROUND).min(end).max(from)))
    }
}

/// The marks grouped by closeness: the first piece has the primary mark.
fn pieces<'m>(first: Mark<'m>, related: Vec<Mark<'m>>) -> Vec<Vec<Mark<'m>>> {
    let mut pieces = vec![vec![first]];
    for mark in related {
        let near = |piece: &&mut Vec<Mark<'_>>| piece.iter().any(|m| m.line.abs_diff(mark.line) <= NEAR);
        match pieces.iter_mut().find(near) {
            Some(piece) => piece.push(mark),
            None => pieces.push(vec![mark]),
        }
    }
    pieces
}

/// The mark within a text that starts at byte `from` of the source; on its first line only.
fn annotation<'m>(mark: &Mark<'m>, text: &str, from: usize) -> Annotation<'m> {
    let start = boundary(text, mark.span.start.saturating_sub(from));
    let end = boundary(text, mark.span.end.saturating_sub(from)).max(start);
    let marked = text.get(start..end).unwrap_or_default();
    let end = start + marked.lines().next().map_or(0, str::len);
    mark.kind.span(start..end).label(mark.label.map(shown))
}

/// The byte, or the last one before it that starts a character.
fn boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A text as a terminal can show it.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_shown(&mut shown, c));
    shown
}
