//! What a changed object is, in words.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::render;
use crate::ruleset::{ElementData, ElementKey, Set};
use crate::topology::EntryId;

/// A text; that of an element is written when somebody reads it. Of ten thousand new elements a plan shows a few.
#[derive(Clone)]
pub struct Text(Source);

#[derive(Clone)]
enum Source {
    Said(String),
    Element { of: Arc<Listed>, at: usize, text: OnceLock<Box<str>> },
}

/// Elements that change, with the definition of their set.
pub(super) struct Listed {
    pub(super) set: Set,
    pub(super) elements: Vec<(ElementKey, ElementData)>,
}

impl Text {
    /// The element in that place.
    pub(super) fn element(of: &Arc<Listed>, at: usize) -> Self {
        Self(Source::Element { of: Arc::clone(of), at, text: OnceLock::new() })
    }

    /// Where an element comes from.
    pub(super) fn origin(&self) -> &[EntryId] {
        match &self.0 {
            Source::Element { of, at, .. } => of.elements[*at].1.origin.0.as_slice(),
            Source::Said(_) => &[],
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Source::Said(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Source::Said(text) => text,
            Source::Element { of, at, text } => text.get_or_init(|| {
                let (key, data) = &of.elements[*at];
                render::element(&of.set, key, data).into_boxed_str()
            }),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}
