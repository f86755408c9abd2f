//! `isoplan status --watch`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::{Read, Reader, exit};
use crate::cli::Output;
use crate::error::{Exit, Failure};
use crate::render::status::text;
use crate::status::Status;

/// How often it looks again.
const INTERVAL: Duration = Duration::from_secs(1);
/// Ctrl-C, where the terminal does not make a signal of it.
const CTRL_C: u8 = 3;

/// Shows the status until somebody leaves. The exit code is that of the last look.
pub(super) fn run(reader: &mut Reader, strict: bool, output: &mut Output) -> Result<Exit, Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        on_terminal(reader, strict, output)
    } else {
        in_lines(reader, output)
    }
}

fn on_terminal(reader: &mut Reader, strict: bool, output: &mut Output) -> Result<Exit, Failure> {
    let _keys = SingleKeys::new();
    output.data("\u{1b}[?1049h\u{1b}[?25l")?;
    let left = loop {
        let started = Instant::now();
        let read = match reader.read() {
            Ok(read) => read,
            Err(failure) => break Err(failure),
        };
        let shown = screen(&read, output);
        if let Err(failure) = output.data(&shown).and_then(|()| output.finish()) {
            break Err(failure);
        }
        if key_within(INTERVAL.saturating_sub(started.elapsed())) {
            break Ok(exit(&read.status, strict));
        }
    };
    output.data("\u{1b}[?25h\u{1b}[?1049l")?;
    left
}

/// What is on the screen: as much as there is room for, and how to leave.
fn screen(read: &Read, output: &Output) -> String {
    let width = output.terminal_width().unwrap_or(80);
    let height = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
    let text = text::text(&read.status, &read.still_mine, width);
    let room = height.saturating_sub(2).max(1);
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines.len().saturating_sub(room);
    // Each line ends with what clears the rest of it: nothing flickers.
    let mut screen = "\u{1b}[H".to_owned();
    for line in lines.iter().take(room) {
        screen.push_str(line);
        screen.push_str("\u{1b}[K\r\n");
    }
    let more = if cut > 0 { format!("; {cut} lines more than fit here") } else { String::new() };
    screen.push_str(&format!("\u{1b}[J(q leaves{more})\u{1b}[K"));
    screen
}

/// Waits for a key that leaves.
fn key_within(time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let stdin = io::stdin();
        let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut wanted, timeout) {
            Ok(0) => return false,
            Ok(_) => {
                let mut keys = [0; 16];
                match nix::unistd::read(stdin.as_fd(), &mut keys) {
                    // The terminal is gone.
                    Ok(0) => return true,
                    Ok(length) if keys[..length].iter().any(|key| matches!(*key, b'q' | b'Q' | CTRL_C)) => {
                        return true;
                    }
                    _ => {}
                }
            }
            // A signal, for example that the terminal has another size: draw again.
            Err(_) => return false,
        }
    }
}

/// The terminal hands over each key at once, Ctrl-C among them, and does not show it.
struct SingleKeys(Option<Termios>);

impl SingleKeys {
    fn new() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut now) = before.clone() {
            now.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &now);
        }
        Self(before)
    }
}

impl Drop for SingleKeys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Without a terminal: the answer, then a line for each thing that changes. Ends with the one who reads it.
fn in_lines(reader: &mut Reader, output: &mut Output) -> Result<Exit, Failure> {
    let mut before = BTreeMap::new();
    loop {
        let now = lines(&reader.read()?.status);
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let mut text = String::new();
        for (key, line) in &now {
            if before.get(key) != Some(line) {
                text.push_str(&format!("{time} {line}\n"));
            }
        }
        for ((about, key), _) in before.iter().filter(|(key, _)| !now.contains_key(*key)) {
            if *about != About::Counter && !(*about == About::Drift && has_lost_a_table(&now)) {
                text.push_str(&format!("{time} {key}: no more\n"));
            }
        }
        output.data(&text)?;
        output.finish()?;
        before = now;
        if nobody_reads_within(INTERVAL) {
            return Ok(Exit::Done);
        }
    }
}

/// Waits, and tells whether the other end of stdout was closed meanwhile (POLLERR, poll(2)).
fn nobody_reads_within(time: Duration) -> bool {
    let stdout = io::stdout();
    let mut wanted = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut wanted, timeout), Ok(1..))
}

/// What a line is about, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Answer,
    Pending,
    Guess,
    Drift,
    /// Goes with its rule; that is told already.
    Counter,
    Risk,
    Unseen,
}

type Lines = BTreeMap<(About, String), String>;

/// Whether a whole table is missing, which says all about what was in it.
fn has_lost_a_table(lines: &Lines) -> bool {
    lines.keys().any(|(about, key)| *about == About::Drift && key.starts_with("missing table "))
}

/// What is told of a status, a line each, by what it is about.
fn lines(status: &Status) -> Lines {
    let mut lines = BTreeMap::new();
    let mut put = |about: About, key: String, says: &str| {
        let line = format!("{key}: {says}");
        lines.insert((about, key), line);
    };
    put(About::Answer, "status".to_owned(), if status.in_place { "in place" } else { "not in place" });
    if let Some(pending) = &status.pending {
        let says = if pending.overdue { "is overdue" } else { "waits to be confirmed" };
        put(About::Pending, "pending".to_owned(), &format!("{} {says}", pending.of));
    }
    for guess in &status.probably {
        put(About::Guess, "probably".to_owned(), &format!("{} Evidence: {}.", guess.says, guess.evidence));
    }
    for drift in &status.drift {
        put(About::Drift, format!("{} {}", drift.what, drift.says), "differs");
    }
    for pair in status.pairs.iter().filter(|pair| pair.packets > 0) {
        put(
            About::Counter,
            format!("dropped {} -> {}", pair.from, pair.to),
            &format!("{} packets", pair.packets),
        );
    }
    for risk in &status.risks {
        put(About::Risk, format!("risk {} {}", risk.name.as_str(), risk.subject), &risk.evidence);
    }
    for unseen in &status.unseen {
        put(About::Unseen, format!("unseen {unseen}"), "not looked at");
    }
    lines
}
