//! What can come at a place of a command line.
//!
//! Which argument the place is for, clap's own engine says. It is behind the feature `unstable-dynamic` of clap_complete:
//! what is not settled is the interface, which Cargo.lock holds still and only this file uses. jj and cargo build on it
//! too. A parser of our own would have to follow each change of the command line.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};

use super::names::{Names, Source};
use crate::cli::Cli;

/// As many as a reader may look through. Of more, only their beginnings are told.
const AT_MOST: usize = 100;

/// In front of the endings of files that a shell is to complete by itself: it knows `~`, quotes and links better.
const FILES: char = '\u{1}';
/// In front of a name behind which there are more.
const GOES_ON: char = '\u{2}';

/// Answers `isoplan complete-stage -- isoplan WORD...`, the last word being the one at the cursor, up to it. A line of the
/// answer is one of
///
/// - `=TEXT`, TAB, help: a word;
/// - `+TEXT`, TAB, help: a beginning of words;
/// - `/TEXT`, TAB, endings: TEXT and a file, with one of the endings where there are any; `/` alone means a directory.
///
/// Whatever goes wrong, the answer is empty and nothing is said: who presses TAB asked for nothing else.
pub(in crate::cli) fn stage(args: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = args.skip_while(|word| word == "--").collect();
    let mut out = io::stdout().lock();
    let _ = out.write_all(&answer(words)).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

fn answer(words: Vec<OsString>) -> Vec<u8> {
    let Some(at) = words.len().checked_sub(1) else { return Vec::new() };
    let current = words[at].clone();
    let is_flag = current.as_encoded_bytes().starts_with(b"-");
    let mut command = prepared(&words);
    let Ok(candidates) = complete(&mut command, words, at, None) else { return Vec::new() };
    // Flags are for those who ask for them, and where there is nothing else.
    let is_asked = |candidate: &&CompletionCandidate| {
        is_flag == candidate.get_value().as_encoded_bytes().starts_with(b"-")
    };
    let mut wanted: Vec<_> = candidates.iter().filter(is_asked).collect();
    if wanted.is_empty() && current.is_empty() {
        wanted = candidates.iter().collect();
    }
    let mut text = Vec::new();
    for candidate in wanted {
        let Some(value) = candidate.get_value().to_str() else { continue };
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        let (kind, value, help) = if let Some((before, endings)) = value.split_once(FILES) {
            ('/', before.to_owned(), endings)
        } else if value.contains(GOES_ON) {
            ('+', value.replace(GOES_ON, ""), help)
        } else {
            ('=', value.to_owned(), help)
        };
        if !value.contains(char::is_control) && !help.contains(char::is_control) {
            text.extend_from_slice(format!("{kind}{value}\t{help}\n").as_bytes());
        }
    }
    text
}

/// The command line, with what can be the values of its arguments.
fn prepared(words: &[OsString]) -> Command {
    let words: Arc<[OsString]> = words.into();
    Cli::command().mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        verb.mut_args(|argument| with_values(argument, &name, &words))
    })
}

fn with_values(argument: Arg, verb: &str, words: &Arc<[OsString]>) -> Arg {
    let files = |argument: Arg, endings: &'static str| {
        let files = move |_: &OsStr| vec![CompletionCandidate::new(format!("{FILES}{endings}"))];
        argument.add(ArgValueCompleter::new(files))
    };
    let names = |argument: Arg, source: Source| {
        let words = Arc::clone(words);
        let names = move |current: &OsStr| {
            let current = current.to_string_lossy();
            let found = source.names(&words, &current);
            few(found, &current)
        };
        argument.add(ArgValueCompleter::new(names))
    };
    let value = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let (value, id) = (value.to_owned(), argument.get_id().as_str().to_owned());
    match (verb, id.as_str(), value.as_str()) {
        ("explain", "from" | "to", _) => names(argument, Source::Ends),
        ("explain", "topology", _) => files(argument, "toml"),
        ("probe", "names", _) => names(argument, Source::ProbesHere),
        ("compare" | "verify", "probes", _) => names(argument, Source::ProbesOfFile),
        ("plan" | "apply", "topology", _) => files(argument, "toml json"),
        (_, _, "TOPOLOGY" | "OLD" | "NEW") => files(argument, "toml"),
        (_, _, "SNAPSHOT") => files(argument, "json"),
        (_, _, "FILE" | "PATH") => files(argument, ""),
        (_, _, "DIR" | "FILE_OR_DIR") => files(argument, if value == "DIR" { "/" } else { "" }),
        _ => argument,
    }
}

/// The names that begin as the word does; where these are too many, their beginnings: shells take what all have in
/// common, and a list that is cut off would have something in common that not all names have.
fn few(names: Names, current: &str) -> Vec<CompletionCandidate> {
    let mut fitting: Vec<(String, String)> =
        names.into_iter().filter(|(name, _)| name.starts_with(current)).collect();
    fitting.sort();
    fitting.dedup_by(|next, first| next.0 == first.0);
    if fitting.len() <= AT_MOST {
        return fitting.into_iter().map(|(name, help)| candidate(&name, &help)).collect();
    }
    let longest = fitting.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let beginnings = |length: usize| {
        let mut beginnings: Vec<String> =
            fitting.iter().map(|(name, _)| name.chars().take(length).collect()).collect();
        beginnings.dedup();
        beginnings
    };
    let typed = current.chars().count();
    // The longer they are, the more there are.
    let (mut fits, mut too_long) = (typed, longest + 1);
    while fits + 1 < too_long {
        let middle = fits.midpoint(too_long);
        if beginnings(middle).len() <= AT_MOST { fits = middle } else { too_long = middle }
    }
    let told = beginnings(fits.max(typed + 1));
    let told = told.into_iter().map(|beginning| {
        // The first of the names that begin like this.
        let at = fitting.partition_point(|(name, _)| *name < beginning);
        match &fitting[at..] {
            [_, (next, _), ..] if next.starts_with(&beginning) => {
                candidate(&format!("{beginning}{GOES_ON}"), "")
            }
            [(only, help), ..] => candidate(only, help),
            [] => candidate(&format!("{beginning}{GOES_ON}"), ""),
        }
    });
    told.take(AT_MOST).collect()
}

fn candidate(name: &str, help: &str) -> CompletionCandidate {
    let help = (!help.is_empty()).then(|| help.to_owned().into());
    CompletionCandidate::new(name).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str], current: &str) -> Vec<String> {
        let names = names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let told = few(names, current).into_iter();
        told.map(|candidate| candidate.get_value().to_string_lossy().replace(GOES_ON, "...")).collect()
    }

    #[test]
    fn few_names_are_told_whole_and_sorted() {
        assert_eq!(told(&["eth1", "docker0", "eth0", "eth0"], "e"), ["eth0", "eth1"]);
    }

    #[test]
    fn of_many_names_the_beginnings_are_told() {
        let names: Vec<String> =
            (0..10_000).map(|number| format!("br{number:04}")).chain(["eth0".into()]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = told(&names, "");
        assert_eq!((all.len(), all[0].as_str(), all[10].as_str()), (11, "br0...", "eth0"));
        assert_eq!(told(&names, "br12").len(), 100);
        assert_eq!(told(&names, "br1")[0], "br100...");
        assert_eq!(told(&names, "br1").len(), 100);
        assert_eq!(told(&names, "x"), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_completed_is_answered_by_nothing() {
        let answer = |words: &[&str]| answer(words.iter().map(OsString::from).collect());
        assert_eq!(answer(&[]), b"");
        assert_eq!(answer(&["isoplan", "explain", "--topology", "/nowhere", "x"]), b"");
        assert_eq!(answer(&["isoplan", "explain", "--topology", "/dev/zero", "x"]), b"");
    }
}
