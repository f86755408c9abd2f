//! A document: its blocks of commands, and what the comments say about them.

use std::ops::Range;

/// A document, line by line.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) path: String,
    pub(super) lines: Vec<String>,
    pub(super) items: Vec<Item>,
}

/// Something that a comment is about.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A block of commands.
    Run { place: Option<Place>, commands: Vec<Command> },
    /// A block to be written to a file.
    File { place: Option<Place>, name: String, text: String },
    /// A block that is run nowhere.
    NotRun { line: usize, reason: String, commands: Vec<Command> },
}

/// Where commands are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `None` for namespaces without a link.
    pub(super) fixture: Option<String>,
    pub(super) approach: Option<String>,
    pub(super) is_new: bool,
}

/// A command, where it is shown and how it is run.
#[derive(Debug, Clone)]
pub(super) struct Command {
    /// Counted from 0.
    pub(super) line: usize,
    /// Without the prompt, all lines of it.
    pub(super) text: String,
    /// The lines that are shown as its output.
    pub(super) output: Range<usize>,
    pub(super) exit: i32,
    pub(super) input: Option<String>,
    pub(super) is_on_terminal: bool,
    /// Whether what it prints is shown.
    pub(super) is_compared: bool,
}

/// The words of one comment.
#[derive(Debug, Default)]
struct Directive {
    place: Option<Place>,
    exit: i32,
    is_user: bool,
    is_commands: bool,
    input: Option<String>,
    is_on_terminal: bool,
    file: Option<String>,
    not_run: Option<String>,
    hidden: Option<String>,
}

impl Directive {
    fn parse(text: &str) -> Result<Self, String> {
        let mut directive = Self::default();
        if let Some(reason) = text.strip_prefix("not run,") {
            directive.not_run = Some(reason.trim().to_owned());
            return Ok(directive);
        }
        let (words, hidden) = match text.split_once("run ") {
            Some((before, command)) if before.is_empty() || before.ends_with("; ") => {
                (before.trim_end_matches("; "), Some(command.trim().to_owned()))
            }
            _ => (text, None),
        };
        directive.hidden = hidden;
        let mut place = Place { fixture: None, approach: None, is_new: false };
        let mut has_place = false;
        for word in words.split_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("host", fixture) => {
                    place.fixture = Some(fixture.to_owned());
                    has_place = true;
                }
                ("none", "") => has_place = true,
                ("approach", approach) => place.approach = Some(approach.to_owned()),
                ("new", "") => place.is_new = true,
                ("exit", code) => directive.exit = code.parse().map_err(|_| format!("no code: {word}"))?,
                ("user", "") => directive.is_user = true,
                ("commands", "") => directive.is_commands = true,
                ("input", text) => directive.input = Some(text.to_owned()),
                ("tty", "") => directive.is_on_terminal = true,
                ("file", name) => directive.file = Some(name.to_owned()),
                _ => return Err(format!("the runner does not know `{word}`: tests/it/book/mod.rs")),
            }
        }
        directive.place = has_place.then_some(place);
        Ok(directive)
    }
}

impl Page {
    /// Reads a document; the error is every mistake in it, with its place.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, Vec<String>> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut page = Self { path: path.to_owned(), lines, items: Vec::new() };
        let mut mistakes = Vec::new();
        let mut comment: Option<Directive> = None;
        let mut at = 0;
        while at < page.lines.len() {
            let line = page.lines[at].trim().to_owned();
            let mistake = |what: String| format!("{path}:{}: {what}", at + 1);
            if let Some(words) = line.strip_prefix("<!-- console:").and_then(|rest| rest.strip_suffix("-->"))
            {
                match Directive::parse(words.trim()) {
                    Ok(directive) => comment = page.take_hidden(directive, at),
                    Err(what) => mistakes.push(mistake(what)),
                }
            } else if line.starts_with("```") && !line.trim_start_matches('`').contains('`') {
                // A longer fence has blocks in it that are only shown; one with a backtick behind it is code in a line.
                let language = line.trim_start_matches('`');
                let fence = &line[..line.len() - language.len()];
                let indent = page.lines[at].len() - page.lines[at].trim_start().len();
                let end = (at + 1..page.lines.len()).find(|at| page.lines[*at].trim() == fence);
                let Some(end) = end else {
                    mistakes.push(mistake("a block without an end".to_owned()));
                    break;
                };
                match (comment.take(), language) {
                    (Some(directive), _) => match page.block(directive, at + 1..end, indent) {
                        Ok(item) => page.items.push(item),
                        Err(what) => mistakes.push(mistake(what)),
                    },
                    (None, "console" | "sh" | "bash" | "shell") => mistakes.push(mistake(
                        "a block of commands without a comment that says where they are run: \
                         tests/it/book/mod.rs has the words"
                            .to_owned(),
                    )),
                    _ => {}
                }
                at = end;
            } else if !line.is_empty() && comment.take().is_some() {
                mistakes.push(mistake("a comment about a block, and no block behind it".to_owned()));
            }
            at += 1;
        }
        if mistakes.is_empty() { Ok(page) } else { Err(mistakes) }
    }

    /// A hidden command stands for itself; any other comment is for the block behind it.
    fn take_hidden(&mut self, mut directive: Directive, line: usize) -> Option<Directive> {
        let Some(text) = directive.hidden.take() else { return Some(directive) };
        let command = Command {
            line,
            text,
            output: line..line,
            exit: directive.exit,
            input: directive.input,
            is_on_terminal: false,
            is_compared: false,
        };
        self.items.push(Item::Run { place: directive.place, commands: vec![command] });
        None
    }

    fn block(&self, directive: Directive, lines: Range<usize>, indent: usize) -> Result<Item, String> {
        if let Some(name) = directive.file {
            let text: String = self.lines[lines]
                .iter()
                .map(|line| format!("{}\n", line.get(indent..).unwrap_or("")))
                .collect();
            return Ok(Item::File { place: directive.place, name, text });
        }
        let prompts: &[&str] = if directive.is_user { &["$ "] } else { &["$ ", "# "] };
        let mut commands: Vec<Command> = Vec::new();
        let mut at = lines.start;
        while at < lines.end {
            let line = self.lines[at].get(indent..).unwrap_or("");
            let Some(text) = prompts.iter().find_map(|prompt| line.strip_prefix(prompt)) else {
                match commands.last_mut() {
                    Some(command) => command.output.end = at + 1,
                    // What is run elsewhere may begin with what it prints.
                    None if directive.not_run.is_some() => {}
                    None => return Err("the block does not start with a command".to_owned()),
                }
                at += 1;
                continue;
            };
            let (start, mut text) = (at, text.to_owned());
            let document =
                text.split_once("<<'").and_then(|(_, rest)| rest.split('\'').next()).map(str::to_owned);
            loop {
                at += 1;
                let is_open = document.is_some() || text.ends_with('\\');
                if !is_open || at >= lines.end {
                    break;
                }
                let line = self.lines[at].get(indent..).unwrap_or("");
                text.push('\n');
                text.push_str(line);
                if document.as_deref() == Some(line) {
                    at += 1;
                    break;
                }
            }
            commands.push(Command {
                line: start,
                text,
                output: at..at,
                exit: 0,
                input: directive.input.clone(),
                is_on_terminal: directive.is_on_terminal,
                is_compared: !directive.is_commands,
            });
        }
        if directive.is_commands && commands.iter().any(|command| !command.output.is_empty()) {
            return Err("output in a block that says `commands`".to_owned());
        }
        match commands.last_mut() {
            Some(command) => command.exit = directive.exit,
            None if directive.not_run.is_some() => {}
            None => return Err("a block without a command".to_owned()),
        }
        Ok(match directive.not_run {
            Some(reason) => Item::NotRun { line: lines.start - 1, reason, commands },
            None => Item::Run { place: directive.place, commands },
        })
    }

    /// The commands that are run, in their order.
    pub(super) fn commands(&self) -> Vec<&Command> {
        let commands = self.items.iter().filter_map(|item| match item {
            Item::Run { commands, .. } => Some(commands),
            _ => None,
        });
        commands.flatten().collect()
    }
}
