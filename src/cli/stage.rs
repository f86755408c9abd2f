//! `isoplan lab-stage`, how a lab is started from inside, and the like. Not for users, so neither in the help nor in
//! the completions.

use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use super::completions;
use crate::apply;
use crate::error::Exit;
use crate::lab::trace::explain;
use crate::lab::{flood, isolate, session, worker};

/// Runs a stage when the process was started as one.
pub fn stage() -> Option<ExitCode> {
    let mut args = env::args_os().skip(1);
    let word = args.next()?;
    if word == completions::STAGE {
        return Some(completions::stage(args));
    }
    if word == apply::STAGE {
        return Some(ExitCode::from(watch(args)));
    }
    if word != isolate::STAGE {
        return None;
    }
    let args: Vec<OsString> = args.collect();
    Some(ExitCode::from(run(&args)))
}

/// Whoever undoes a change that nobody confirms.
fn watch(mut args: impl Iterator<Item = OsString>) -> u8 {
    let (word, directory, id) = (args.next(), args.next(), args.next());
    let word = word.and_then(|word| word.into_string().ok());
    let id = id.and_then(|id| id.to_str()?.parse().ok());
    let (Some(word), Some(directory), Some(id), None) = (word, directory, id, args.next()) else {
        return unknown();
    };
    let done = apply::stage(&word, Path::new(&directory), id, &mut io::stdout());
    done.map_or_else(|error| failed(&error), |()| Exit::Done as u8)
}

fn run(args: &[OsString]) -> u8 {
    let words: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["enter", fd, "--", ..] => match fd.parse() {
            Ok(fd) => isolate::enter(fd, &args[3..]).unwrap_or_else(|error| failed(&error)),
            Err(_) => unknown(),
        },
        ["settle", fd, "--", verb, rest @ ..] => match fd.parse() {
            Ok(_) if *verb != isolate::STAGE || rest.is_empty() => unknown(),
            Ok(fd) => match isolate::settle(fd) {
                Ok(()) => inside(rest, args),
                Err(error) => failed(&error),
            },
            Err(_) => unknown(),
        },
        ["run", open_files, "--", words @ ..] if !words.is_empty() => match open_files.parse() {
            Ok(open_files) => super::lab::become_command(open_files, &args[args.len() - words.len()..]),
            Err(_) => unknown(),
        },
        ["map"] => isolate::map().map_or_else(|error| failed(&error), |()| Exit::Done as u8),
        ["flood", targets @ ..] => {
            let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
            flood::send(&targets).map_or_else(|error| failed(&error), |()| Exit::Done as u8)
        }
        _ => unknown(),
    }
}

/// What the first process of the lab does.
fn inside(words: &[&str], args: &[OsString]) -> u8 {
    match words {
        ["host", document, starts, ground, "--", command @ ..] => match (document.parse(), starts.parse()) {
            (Ok(document), Ok(starts)) => {
                let command = &args[args.len() - command.len()..];
                super::lab::inside(document, starts, *ground == session::FOREGROUND, command)
            }
            _ => unknown(),
        },
        ["try"] => match isolate::require() {
            Ok(()) => Exit::Done as u8,
            Err(error) => failed(&error),
        },
        ["work"] => match worker::work(&mut io::stdin().lock(), &mut io::stdout().lock()) {
            Ok(()) => Exit::Done as u8,
            Err(error) => failed(&error),
        },
        ["explain"] => {
            let said = explain::work(io::stdin().lock()).and_then(|story| io::stdout().write_all(&story));
            said.map_or_else(|error| failed(&error), |()| Exit::Done as u8)
        }
        _ => unknown(),
    }
}

fn unknown() -> u8 {
    let _ = writeln!(io::stderr(), "{} is started by isoplan itself", isolate::STAGE);
    Exit::Usage as u8
}

/// The process outside reads this and says it in its own words.
fn failed(error: &dyn Display) -> u8 {
    let _ = writeln!(io::stderr(), "{error}");
    Exit::NotPermitted as u8
}
