//! A place where commands are run, and the one shell that runs them there.

use std::fs;
use std::path::Path;
use std::process::{self, Stdio};

use super::page::{Command, Item, Page, Place};
use super::root;
use crate::ISOPLAN;
use crate::lab::node::PATH;

/// How many seconds one place may take. A limit, not a measure.
const LIMIT: &str = "120";

/// What a command printed.
#[derive(Debug, Clone)]
pub(super) struct Printed {
    /// stdout and stderr, as they came.
    pub(super) text: String,
    /// `None` for a command that the shell did not come to, or did not come back from.
    pub(super) code: Option<i32>,
}

impl Printed {
    /// Without spaces at the ends of lines and without empty lines at the end.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.text.lines().map(|line| line.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Whether a program that isoplan does not need is not here.
    pub(super) fn is_lacking(&self, command: &str) -> bool {
        let is_lacking = |program: &&str| {
            command.split_whitespace().any(|word| word == *program)
                && !crate::lab::isolate::has_program(program)
        };
        ["ping", "sysctl", "jq"].iter().any(is_lacking)
    }
}

/// What one shell does, in its order.
pub(super) struct Session<'p> {
    place: Place,
    steps: Vec<Step<'p>>,
}

enum Step<'p> {
    Run(&'p Command),
    Write { name: &'p str, text: &'p str },
}

impl<'p> Session<'p> {
    /// The places of a document.
    pub(super) fn of(page: &'p Page) -> Vec<Self> {
        let mut sessions: Vec<Self> = Vec::new();
        for item in &page.items {
            let (place, steps): (_, Vec<Step<'p>>) = match item {
                Item::Run { place, commands } => (place, commands.iter().map(Step::Run).collect()),
                Item::File { place, name, text } => (place, vec![Step::Write { name, text }]),
                Item::NotRun { .. } => continue,
            };
            let is_same = |session: &Self| {
                place.as_ref().is_none_or(|place| {
                    !place.is_new
                        && place.fixture == session.place.fixture
                        && place
                            .approach
                            .as_ref()
                            .is_none_or(|it| Some(it) == session.place.approach.as_ref())
                })
            };
            match sessions.last_mut() {
                Some(session) if is_same(session) => session.steps.extend(steps),
                _ => {
                    let nowhere = Place { fixture: None, approach: None, is_new: false };
                    sessions.push(Self { place: place.clone().unwrap_or(nowhere), steps });
                }
            }
        }
        sessions
    }

    /// Runs it all. What each command printed, by its line.
    pub(super) fn run(&self) -> Vec<(usize, Printed)> {
        let directory = tempfile::tempdir().expect("make a directory");
        let [work, notes] = ["work", "notes"].map(|name| directory.path().join(name));
        for path in [&work, &notes] {
            fs::create_dir(path).expect("make a directory");
        }
        std::os::unix::fs::symlink(root().join("fixtures"), work.join("fixtures")).expect("make a link");
        if let Some(fixture) = &self.place.fixture {
            let from = root().join("fixtures").join(fixture).join("topology.toml");
            fs::copy(&from, work.join("topology.toml"))
                .unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        fs::write(notes.join("script"), self.script(&notes)).expect("write a script");
        let ended = self.command(&work, &notes).output().expect("run a shell");
        let complaint =
            String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        let printed = self.commands().enumerate().map(|(index, command)| {
            let note = |what: &str| fs::read(notes.join(format!("{index}.{what}")));
            let code = note("code").ok().and_then(|code| String::from_utf8_lossy(&code).trim().parse().ok());
            let text = match note("out") {
                Ok(bytes) => as_typed(command, &String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(_) => format!("(not run: the shell ended with {}) {complaint}\n", ended.status),
            };
            (command.line, Printed { text, code })
        });
        printed.collect()
    }

    fn commands(&self) -> impl Iterator<Item = &'p Command> {
        self.steps.iter().filter_map(|step| match step {
            Step::Run(command) => Some(*command),
            Step::Write { .. } => None,
        })
    }

    /// What the shell does: each command with its own files for what it reads and prints, and its exit code.
    fn script(&self, notes: &Path) -> String {
        // The directory is a mount of its own, and all around it cannot be written: nothing of the machine is changed,
        // whatever a document says.
        let mut script = "work=$PWD\n\
            mount --bind \"$work\" \"$work\" && mount --bind \"$NOTES\" \"$NOTES\" && mount -o remount,bind,ro / 2>/dev/null\n\
            cd \"$work\"\n\
            hostname web1 2>/dev/null || echo web1 2>/dev/null >/proc/sys/kernel/hostname\n\
            unset work OLDPWD\n"
            .to_owned();
        let (mut commands, mut files) = (0, 0);
        for step in &self.steps {
            let Step::Run(command) = step else {
                let Step::Write { name, text } = step else { continue };
                fs::write(notes.join(format!("{files}.file")), text).expect("write a file");
                script += &format!("cat \"$NOTES/{files}.file\" >'{name}'\n");
                files += 1;
                continue;
            };
            let text = match command.is_on_terminal {
                true => format!("script -qec '{}' /dev/null", command.text.replace('\'', r"'\''")),
                false => command.text.clone(),
            };
            let input = command.input.as_ref().map(|input| format!("{input}\n")).unwrap_or_default();
            fs::write(notes.join(format!("{commands}.command")), text).expect("write a command");
            fs::write(notes.join(format!("{commands}.in")), input).expect("write what it reads");
            script += &format!(
                "eval \"$(<\"$NOTES/{commands}.command\")\" <\"$NOTES/{commands}.in\" >>\"$NOTES/{commands}.out\" 2>&1\n\
                 echo $? >\"$NOTES/{commands}.code\"\n"
            );
            commands += 1;
        }
        script
    }

    /// The shell in its place.
    fn command(&self, work: &Path, notes: &Path) -> process::Command {
        let own = Path::new(ISOPLAN).parent().expect("a directory");
        let mut command = process::Command::new("timeout");
        command.args(["--kill-after=5", LIMIT]);
        match &self.place {
            Place { fixture: Some(_), approach, .. } => {
                command.args([ISOPLAN, "lab", "topology.toml"]);
                command.args(approach.iter().flat_map(|approach| ["--approach", approach.as_str()]));
                command.args(["--", "bash"]);
            }
            Place { fixture: None, .. } => {
                command.args(["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--uts"]);
                command.args(["--fork", "--kill-child", "--mount-proc", "bash", "-c"]);
                command.args(["mount -t tmpfs tmpfs /run && exec bash \"$0\""]);
            }
        }
        command
            .arg(notes.join("script"))
            .current_dir(work)
            .env_clear()
            .env("PATH", format!("{}:{PATH}", own.display()))
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", work)
            .env("NO_COLOR", "1")
            .env("TMPDIR", work)
            .env("NOTES", notes)
            .stdin(Stdio::null());
        command
    }
}

/// What a terminal shows to somebody who waits for the question. script(1) types at once, so that the answer is echoed
/// before everything else.
fn as_typed(command: &Command, text: &str) -> String {
    match &command.input {
        Some(input) if command.is_on_terminal => {
            let text = text.strip_prefix(&format!("{input}\n")).unwrap_or(text);
            text.replacen("] \n", &format!("] {input}\n"), 1)
        }
        _ => text.to_owned(),
    }
}
