//! Templates of the user's own: where they are, and that none is read from elsewhere.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::error::{Exit, Failure};
use crate::render;
use crate::topology::Topology;

/// Nobody writes a longer template.
const LONGEST: u64 = 1024 * 1024;

/// What the first template of a directory is called, before its extension.
const FIRST: &str = "document.";

/// Fills in a template: a file, or `document.EXT` of a directory.
pub(super) fn fill_in(path: &Path, topology: Topology) -> Result<String, Failure> {
    let cannot = |error: &std::io::Error| {
        let failure =
            Failure::new(format!("cannot read the template {}", path.display())).because(error.to_string());
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            failure.exit(Exit::NotPermitted)
        } else {
            failure
        }
    };
    let is_directory = fs::metadata(path).map_err(|error| cannot(&error))?.is_dir();
    let (directory, main) = if is_directory {
        (path.to_owned(), first_of(path)?)
    } else {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::new(format!("the name of {} is no text", path.display())))?;
        (path.parent().unwrap_or(Path::new("")).to_owned(), name.to_owned())
    };
    let root = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.clone() };
    let root = root.canonicalize().map_err(|error| cannot(&error))?;
    // What the user named may be a link to anywhere; what a template names may not.
    let named = (main.clone(), root.join(&main));
    let load = move |name: &str| {
        if name == named.0 {
            return read(&named.1).map(Some);
        }
        match within(&root, Path::new(name))? {
            Some(path) => read(&path).map(Some),
            None => Ok(None),
        }
    };
    render::document::custom(&Arc::new(topology), &main, load)
}

/// The only `document.EXT` of a directory.
fn first_of(directory: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(format!("cannot list {}", directory.display())).because(error.to_string())
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        found.extend(name.to_str().filter(|name| name.starts_with(FIRST)).map(str::to_owned));
    }
    found.sort_unstable();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(format!("{} has no document.EXT", directory.display()))
            .hint("name the first template document.md, document.html or the like, or name the file: --template FILE")),
        several => Err(Failure::new(format!("{} has {}", directory.display(), several.join(" and ")))
            .hint("name the file: --template FILE")),
    }
}

/// A file below a directory, by its path from there; `None` where there is none. The error says why it may not be read.
fn within(root: &Path, name: &Path) -> Result<Option<PathBuf>, String> {
    const OUTSIDE: &str = "it is not below the directory of the templates";
    let mut parts = name.components();
    if !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(OUTSIDE.to_owned());
    }
    match root.join(name).canonicalize() {
        Ok(path) if path.starts_with(root) => Ok(Some(path)),
        Ok(_) => Err(OUTSIDE.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let there = fs::metadata(path).map_err(|error| error.to_string())?;
    if !there.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    if there.len() > LONGEST {
        return Err(format!("it has {} bytes; at most {LONGEST} are read", there.len()));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}
