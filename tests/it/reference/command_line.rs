//! docs/reference/cli.md: the command line as the program tells it.

use std::fmt::Write as _;
use std::fs;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::root;

/// As wide as documents are.
const WIDTH: usize = 118;

const HEAD: &str = "\
<!-- Made by tests/it/reference/command_line.rs from the program itself: ISOPLAN_BLESS=1 cargo test --test it -- reference -->

# Command line

Every verb with its arguments and options, as `isoplan help VERB` prints them. What a verb is good for, and how they
go together, is in [operate.md](../operate.md) and in the guides; what its `--json` holds is in
[json.md](../json.md); how it ends is in [exit-codes.md](exit-codes.md).
";

/// The whole document.
fn command_line() -> String {
    let mut program = isoplan::cli::Cli::command();
    program.build();
    let mut text = HEAD.to_owned();
    text.push_str("\n| verb | does |\n|------|------|\n");
    let verbs: Vec<&Command> = program.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    for verb in &verbs {
        let name = verb.get_name();
        let about = verb.get_about().map(prose).unwrap_or_default().replace('|', "\\|");
        writeln!(text, "| [`isoplan {name}`](#isoplan-{name}) | {about} |").expect("a string");
    }
    text.push_str("\n## isoplan\n\n");
    push_about(&mut text, &program);
    push_options(&mut text, &program, |arg| arg.is_global_set());
    text.push_str("- `-h`, `--help`: Says this. `-h` is short, `--help` and `isoplan help VERB` say all.\n");
    text.push_str("- `-V`, `--version`: Says which version it is.\n");
    push_after(&mut text, &program);
    for verb in verbs {
        writeln!(text, "\n## isoplan {}\n", verb.get_name()).expect("a string");
        push_about(&mut text, verb);
        let mut verb_as_built = verb.clone();
        let usage = verb_as_built.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>().join("\n");
        writeln!(text, "```text\n{usage}\n```\n").expect("a string");
        push_options(&mut text, verb, |arg| !arg.is_global_set());
        push_after(&mut text, verb);
    }
    text
}

/// What it is for; the first line stands for all where there is no more.
fn push_about(text: &mut String, command: &Command) {
    let about = command.get_long_about().or(command.get_about()).map(prose).unwrap_or_default();
    // The short one says what the long one does not.
    let short = command.get_about().map(prose).unwrap_or_default();
    if about != short && !about.starts_with(&(short.clone() + ".")) {
        push_paragraphs(text, &(short + "."), "");
    }
    let period = if about.ends_with('.') { "" } else { "." };
    push_paragraphs(text, &(about + period), "");
}

fn push_after(text: &mut String, command: &Command) {
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        writeln!(text, "\n```text\n{}\n```", after.to_string().trim_end()).expect("a string");
    }
}

/// A line for each argument and option, arguments first.
fn push_options(text: &mut String, command: &Command, is_shown: impl Fn(&Arg) -> bool) {
    let shown = |arg: &&Arg| {
        is_shown(arg) && !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
    };
    let arguments: Vec<&Arg> = command.get_positionals().filter(shown).collect();
    let options: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_positional()).filter(shown).collect();
    for arg in arguments.into_iter().chain(options) {
        let mut item = names(arg) + ": ";
        let help = arg.get_long_help().or(arg.get_help()).map(prose).unwrap_or_default();
        let (first, rest) = help.split_once("\n\n").unwrap_or((&help, ""));
        item.push_str(first);
        item.push('.');
        for fact in facts(command, arg) {
            item.push(' ');
            item.push_str(&fact);
        }
        push_wrapped(text, &item, "- ", "  ");
        if !rest.is_empty() {
            text.push('\n');
            push_paragraphs(text, rest, "  ");
        }
        for value in arg.get_possible_values() {
            if let Some(help) = value.get_help().filter(|_| !value.is_hide_set() && takes_value(arg)) {
                push_wrapped(text, &format!("`{}`: {}.", value.get_name(), prose(help)), "  - ", "    ");
            }
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// How it is written: `-o`, `--output FILE`.
fn names(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .map(|names| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
    let value = value.unwrap_or_else(|| arg.get_id().as_str().to_uppercase());
    if arg.is_positional() {
        let dashes = if arg.is_last_set() { "-- " } else { "" };
        let more = if matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
        return format!("`{dashes}{value}{more}`");
    }
    let value = if takes_value(arg) { format!(" {value}") } else { String::new() };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let mut names: Vec<String> = short.into_iter().chain(long).collect();
    if let Some(last) = names.last_mut() {
        last.push_str(&value);
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Defaults, values, the environment and what it does not go with, each a sentence.
fn facts(command: &Command, arg: &Arg) -> Vec<String> {
    let mut facts = Vec::new();
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if takes_value(arg) && !values.is_empty() {
        let words: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        facts.push(format!("One of {}.", words.join(", ")));
    }
    let defaults = arg.get_default_values();
    if takes_value(arg) && !defaults.is_empty() {
        let words: Vec<_> = defaults.iter().map(|word| format!("`{}`", word.to_string_lossy())).collect();
        facts.push(format!("Default: {}.", words.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        facts.push(format!("Environment: `{}`.", variable.to_string_lossy()));
    }
    let mut others: Vec<String> = Vec::new();
    for other in command.get_arguments().filter(|other| other.get_id() != arg.get_id()) {
        let conflicts = |one: &Arg, two: &Arg| {
            command.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == two.get_id())
        };
        if !other.is_hide_set() && (conflicts(arg, other) || conflicts(other, arg)) {
            let name = other.get_long().map(|long| format!("`--{long}`"));
            let name = name.or_else(|| other.get_short().map(|short| format!("`-{short}`")));
            others.push(name.unwrap_or_else(|| names(other)));
        }
    }
    if !others.is_empty() {
        facts.push(format!("Not with {}.", others.join(", ")));
    }
    facts
}

/// Help as Markdown: flags and names of variables as code, nothing taken for markup.
fn prose(help: &StyledStr) -> String {
    // A line that is indented is a command to be copied.
    let code = |line: &str| line.strip_prefix("  ").map(|code| format!("`{}`", code.trim()));
    let help = help.to_string();
    let lines: Vec<String> = help.lines().map(|line| code(line).unwrap_or_else(|| line.to_owned())).collect();
    let help = lines.join("\n");
    let mut text = String::new();
    for (index, part) in help.trim().split('`').enumerate() {
        if index % 2 == 1 {
            write!(text, "`{part}`").expect("a string");
            continue;
        }
        for piece in part.split_inclusive([' ', '\n']) {
            let word = piece.trim_end_matches([' ', '\n']);
            text.push_str(&marked(word));
            text.push_str(&piece[word.len()..]);
        }
    }
    text
}

/// A word outside of code.
fn marked(word: &str) -> String {
    let start = word.trim_start_matches(['(', '[']);
    let (before, rest) = word.split_at(word.len() - start.len());
    let bare = rest.trim_end_matches([',', '.', ';', ':', ')', ']']);
    let after = &rest[bare.len()..];
    let is_flag = bare.starts_with('-') && bare.len() > 1 && bare != "--";
    let is_variable = bare.contains('_') && bare.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_path = bare.starts_with('/') && bare.len() > 1;
    let is_stdin = bare == "-";
    let has_markup = bare.contains(['*', '<', '>', '_']) || bare == "?";
    if is_stdin || is_flag || is_variable || is_path || has_markup {
        return format!("{before}`{bare}`{after}");
    }
    // A document that is named is linked.
    if let Some(name) = bare.strip_prefix("docs/").filter(|name| name.ends_with(".md")) {
        return format!("{before}[{name}](../{name}){after}");
    }
    word.to_owned()
}

fn push_paragraphs(text: &mut String, paragraphs: &str, indent: &str) {
    for paragraph in paragraphs.split("\n\n") {
        push_wrapped(text, &paragraph.replace('\n', " "), indent, indent);
        text.push('\n');
    }
}

/// Adds lines that are no longer than [`WIDTH`] where words allow, a line break outside of code only.
fn push_wrapped(text: &mut String, words: &str, first: &str, others: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in pieces(words) {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(text, "{line}").expect("a string");
            others.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(text, "{line}").expect("a string");
}

/// The words of a paragraph; what is code is one.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut is_code) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if c == '`' {
            is_code = !is_code;
        } else if c == ' ' && !is_code {
            pieces.push(&text[start..at]);
            start = at + 1;
        }
    }
    pieces.push(&text[start..]);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[test]
fn the_command_line_is_what_the_program_says() {
    let path = root().join("docs/reference/cli.md");
    let made = command_line();
    if std::env::var_os("ISOPLAN_BLESS").is_some() {
        fs::write(&path, &made).expect("write the reference");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "docs/reference/cli.md is not what the program says; make it again with ISOPLAN_BLESS=1 cargo test --test it -- reference"
    );
    assert!(
        found.contains("\n## isoplan apply\n") && found.contains("- `--confirm-within TIME`: "),
        "{found}"
    );
}
