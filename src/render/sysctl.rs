//! The sysctl approach as a file for sysctl.d(5).

use askama::Template;

use crate::approach::with_approach;
use crate::intent::Intent;
use crate::topology::ApproachName;

/// One key, ready to be printed.
pub(super) struct Line {
    pub(super) key: String,
    pub(super) value: String,
    why: String,
    place: String,
}

#[derive(Template)]
#[template(path = "sysctl.txt")]
struct File<'f> {
    file: &'f str,
    version: &'static str,
    not_covered: Vec<&'static str>,
    sysctls: Vec<Line>,
}

/// The whole file. Keys with slashes, because the name of an interface may hold dots (sysctl.d(5)).
///
/// # Errors
///
/// None that input can bring about.
pub fn file(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let desired = with_approach(intent, ApproachName::Sysctl);
    let topology = intent.topology;
    File {
        file: &topology.file,
        version: env!("CARGO_PKG_VERSION"),
        not_covered: desired.not_covered,
        sysctls: lines(intent, &desired.sysctls),
    }
    .render()
}

pub(super) fn lines(intent: &Intent<'_>, sysctls: &[crate::approach::Sysctl]) -> Vec<Line> {
    sysctls
        .iter()
        .map(|sysctl| Line {
            key: sysctl.key.0.clone(),
            value: sysctl.value.clone(),
            why: sysctl.why.clone(),
            place: intent.topology.place(sysctl.origin),
        })
        .collect()
}
