//! What has to be done, from what is there, what was installed before, and what is to be.

use super::{Content, Entry, FILE_MODE, Manifest};

/// What is in a place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Text or a link.
    Content {
        /// What.
        content: Content,
        /// The permissions; of links there are none.
        mode: u32,
        /// Whether it belongs to who runs isoplan.
        own: bool,
    },
    /// Something that isoplan never makes: a directory, a device, a file that is no text.
    Else(&'static str),
}

impl Found {
    /// Whether isoplan put it there, and nobody changed it since.
    fn is_one_of(&self, contents: &[Content]) -> bool {
        matches!(self, Self::Content { content, .. } if contents.contains(content))
    }
}

/// What is done with one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing is there, and something comes.
    Create,
    /// Something of isoplan's is replaced.
    Change,
    /// It is as it should be.
    Keep,
    /// Something of isoplan's goes.
    Remove,
    /// What is to go is gone already.
    Gone,
    /// Somebody edited it, or put it there: it stays as it is.
    Leave,
    /// The same, but it was said that it should not stay.
    Force,
}

impl Action {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Gone => "gone",
            Self::Leave => "leave",
            Self::Force => "force",
        }
    }
}

/// One place and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Below the root file system, no slash in front.
    pub path: String,
    /// What is done.
    pub action: Action,
    /// What is there.
    pub was: Found,
    /// What is to be there; nothing where something goes.
    pub to: Option<Entry>,
}

/// What an installation, or with no entries the removal of one, does to each place. What comes is first and in the
/// order of writing, what goes is last and in the opposite order.
pub fn changes(
    entries: &[Entry],
    before: &Manifest,
    force: bool,
    mut found: impl FnMut(&str) -> Found,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in entries {
        let was = found(&entry.path);
        let ours = before.installed.iter().find(|installed| installed.path == entry.path);
        let action = match &was {
            Found::Nothing => Action::Create,
            Found::Content { content, mode, own } if *content == entry.content => {
                let is_right = *own && (matches!(content, Content::Link { .. }) || *mode == FILE_MODE);
                if is_right { Action::Keep } else { Action::Change }
            }
            other if ours.is_some_and(|ours| other.is_one_of(&ours.contents)) => Action::Change,
            Found::Else("directory") => Action::Leave,
            _ if force => Action::Force,
            _ => Action::Leave,
        };
        changes.push(Change { path: entry.path.clone(), action, was, to: Some(entry.clone()) });
    }
    let is_kept = |path: &str| entries.iter().any(|entry| entry.path == path);
    for installed in before.installed.iter().rev().filter(|installed| !is_kept(&installed.path)) {
        let was = found(&installed.path);
        let action = match &was {
            Found::Nothing => Action::Gone,
            other if other.is_one_of(&installed.contents) => Action::Remove,
            Found::Else("directory") => Action::Leave,
            _ if force => Action::Force,
            _ => Action::Leave,
        };
        changes.push(Change { path: installed.path.clone(), action, was, to: None });
    }
    changes
}

/// The lines that two texts do not have in common, each with a `-` or `+` before it and two lines around them.
pub fn text_changes(old: &str, new: &str) -> String {
    const AROUND: usize = 2;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let shorter = old.len().min(new.len());
    let head = (0..shorter).take_while(|at| old[*at] == new[*at]).count();
    let tail =
        (0..shorter - head).take_while(|at| old[old.len() - 1 - at] == new[new.len() - 1 - at]).count();
    let mut text = String::new();
    let mut push = |sign: char, lines: &[&str]| {
        for line in lines {
            text.push(sign);
            text.push(' ');
            text.push_str(line);
            text.push('\n');
        }
    };
    push(' ', &old[head.saturating_sub(AROUND)..head]);
    push('-', &old[head..old.len() - tail]);
    push('+', &new[head..new.len() - tail]);
    push(' ', &old[old.len() - tail..(old.len() - tail + AROUND).min(old.len())]);
    text
}
