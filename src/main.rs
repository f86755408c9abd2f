//! The command line of isoplan; see the library for everything else.

use std::process::ExitCode;

use isoplan::cli;

fn main() -> ExitCode {
    if let Some(code) = cli::stage() {
        return code;
    }
    let exit = match cli::parse() {
        Ok(arguments) => cli::run(arguments),
        Err(exit) => exit,
    };
    ExitCode::from(exit as u8)
}
