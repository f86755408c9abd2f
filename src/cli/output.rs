//! Data on stdout, the rest on stderr; both end quietly when nobody reads any more.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use anstream::ColorChoice;
use serde::Serialize;

use crate::error::Failure;
use crate::render::plan::Style;
use crate::render::wrap::push_wrapped;

/// Where a verb prints.
pub struct Output {
    stdout: anstream::AutoStream<io::Stdout>,
    stderr: anstream::AutoStream<io::Stderr>,
}

/// Lines are not longer than this where nobody tells how wide the terminal is.
const WIDTH: usize = 80;

impl Output {
    pub(super) fn new(choice: ColorChoice) -> Self {
        Self {
            stdout: anstream::AutoStream::new(io::stdout(), choice),
            stderr: anstream::AutoStream::new(io::stderr(), choice),
        }
    }

    /// Prints data.
    pub(super) fn data(&mut self, text: &str) -> Result<(), Failure> {
        told(self.stdout.write_all(harmless(text).as_bytes()))
    }

    /// Prints a value as JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new("cannot write JSON").because(error.to_string()))?;
        self.data(&text)?;
        self.data("\n")
    }

    /// Prints what is not data.
    pub(super) fn note(&mut self, text: &str) {
        let _ = writeln!(self.stderr, "{}", harmless(text));
    }

    /// Prints sentences that are data, in lines as wide as the terminal.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.wrapped(text);
        self.data(&text)
    }

    /// Prints sentences that are not data, in lines as wide as the terminal.
    pub(super) fn remark(&mut self, text: &str) {
        let text = self.wrapped(text);
        let _ = self.stderr.write_all(text.as_bytes());
    }

    fn wrapped(&self, text: &str) -> String {
        let mut lines = String::new();
        for line in text.split('\n') {
            push_wrapped(&mut lines, line, self.style(false).width, 0);
        }
        lines
    }

    pub(super) fn failure(&mut self, failure: &Failure) {
        // What was printed before comes before it.
        let _ = self.stdout.flush();
        if !failure.message.is_empty() {
            let text = failure.text(self.style(false).width);
            let _ = self.stderr.write_all(harmless(&text).as_bytes());
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        told(self.stdout.flush())
    }

    /// How wide the terminal is that stdout goes to, if it is one.
    pub(super) fn terminal_width(&self) -> Option<usize> {
        let width = terminal_size::terminal_size_of(io::stdout());
        width.map(|(width, _)| usize::from(width.0)).filter(|_| io::stdout().is_terminal())
    }

    /// How to lay out text. Colours are always asked for: the streams take them out where they do not
    /// belong.
    pub(super) fn style(&self, all: bool) -> Style {
        let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
        Style { color: true, width: width.clamp(WIDTH, 160), all }
    }

    /// Fails when there is nobody to ask.
    pub(super) fn can_ask(&self) -> Result<(), Failure> {
        if io::stdin().is_terminal() {
            return Ok(());
        }
        Err(Failure::new("there is no terminal to ask on; nothing was changed")
            .exit(crate::error::Exit::Usage)
            .hint("say --yes to go ahead without being asked, or --dry-run to look only"))
    }

    /// Asks a question on the terminal. Only `y` and `yes` are a yes.
    ///
    /// # Errors
    ///
    /// When there is nobody to ask.
    pub(super) fn ask(&mut self, question: &str) -> Result<bool, Failure> {
        self.finish()?;
        self.can_ask()?;
        let _ = write!(self.stderr, "{question} [y/N] ");
        let _ = self.stderr.flush();
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|error| {
            Failure::new("cannot read the answer; nothing was changed").because(error.to_string())
        })?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// Text without what a terminal would obey, but for colours: names of links and processes, and files of others,
/// hold what their makers like.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = if c == '\u{1b}' { colour(rest) } else { None };
        let length = colour.unwrap_or(c.len_utf8());
        if colour.is_some() || is_harmless(c) {
            kept.push_str(&rest[..length]);
        } else {
            kept.push('\u{fffd}');
        }
        rest = &rest[length..];
    }
    Cow::Owned(kept)
}

/// How long the sequence at the start is, if it sets colours (`CSI ... m`, ECMA-48 "SGR").
fn colour(text: &str) -> Option<usize> {
    let digits = text.strip_prefix("\u{1b}[")?;
    let length = digits.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    digits[length..].starts_with('m').then_some("\u{1b}[".len() + length + 1)
}

/// A closed pipe is not a failure: `isoplan plan | head` has what it wants.
fn told(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to stdout")
                .because(error.to_string())
                .hint("a change that was asked for may have been made: isoplan status TOPOLOGY tells"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_colours_and_nothing_else() {
        let check = |text: &str, expected: &str| assert_eq!(harmless(text), expected, "{text:?}");
        check("plain\ttext\n", "plain\ttext\n");
        check("\u{1b}[1;31mNOT\u{1b}[0m", "\u{1b}[1;31mNOT\u{1b}[0m");
        check(
            "a\u{1b}[2Jb\u{1b}]0;title\u{7}c\rd\u{9b}2J",
            "a\u{fffd}[2Jb\u{fffd}]0;title\u{fffd}c\u{fffd}d\u{fffd}2J",
        );
        check("\u{1b}", "\u{fffd}");
        check("\u{1b}[31", "\u{fffd}[31");
    }
}
