//! `isoplan plan --markdown`.

use super::diff::switches;
use super::escape::{code, marker, sentence};
use super::rules::push_rules;
use super::ways::{Words, tables};
use super::{Closes, Page, allow, file, items, push_given_up, verdict};
use crate::approach::Approach;
use crate::diff::{Action, Change, Kind, LiveState};
use crate::flows::pairs::pair_changes;
use crate::intent::Way;
use crate::meaning::{Loosened, WayChange};
use crate::plan::Plan;
use crate::render::matrix;

/// Where the state is from that a plan was worked out from.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'s> {
    /// The name of the host, where it is another's or of another time.
    pub host: Option<&'s str>,
    /// "Against a snapshot: host web1, ...", where it is one.
    pub words: Option<&'s str>,
}

/// Whoever the topology names is asked about.
const WORDS: Words = Words { heads: ["From", "To"], absent: "not there" };

/// The plan for a host with that state as Markdown. With `all`, every element that fits.
pub fn plan(plan: &Plan<'_>, live: &LiveState, seen: Seen<'_>, all: bool) -> String {
    let mut page = Page::new(marker("plan", &[&plan.topology.file, seen.host.unwrap_or_default()]), all);
    let name = file(&plan.topology.file);
    let on = seen.host.map_or_else(|| "this host".to_owned(), |host| format!("host {}", code(host)));
    if plan.diff.is_empty() {
        page.paragraph(&format!("### {name} on {on}: in place, nothing to do"));
    } else {
        let changes = pair_changes(plan, live);
        let loosened = Loosened::new(&live.ruleset, &plan.desired.ruleset, &plan.diff.changes);
        let opens = changes.opens() + loosened.pairs_besides(&plan.intent, &changes.ways, WayChange::opens);
        let gone: Vec<_> = plan.diff.changes.iter().filter(|change| is_gone(change)).collect();
        // Whose they were is not in a live set, so pairs are not counted.
        let closes = match changes.closes() {
            0 if !gone.is_empty() => Closes::Elements(gone.len()),
            pairs => Closes::Pairs(pairs),
        };
        page.paragraph(&format!("### {name} on {on}: {}", verdict(opens, closes, &loosened)));
        push_from(&mut page, seen);
        if changes.ways.is_empty() {
            let asked = if changes.is_partial { "pairs that were looked at" } else { "pairs" };
            page.paragraph(&format!(
                "For none of {} {asked} of the file the rules of isoplan and the forwarding switches let pass another kind of \
                 packet than now: new connections, published ones, or any of the exceptions.",
                changes.looked_at
            ));
        } else {
            tables(&mut page, &changes.ways, &WORDS);
            page.paragraph(
                "What isoplan's rules and the forwarding switches let pass: now, and with the plan. Rules of others on \
                 that host are not looked at; what they drop stays dropped.",
            );
        }
        push_given_up(&mut page, &loosened, 26_000);
        let lines: Vec<_> = loosened.allows(plan.topology).into_iter().map(allow).collect();
        page.lines("**Exceptions** that let more through\n", &lines, 22_000);
        let lines: Vec<_> = gone
            .into_iter()
            .filter_map(|change| Some(format!("- {}", code(change.old.as_deref()?))))
            .collect();
        page.lines("Elements of exceptions that go\n", &lines, 18_000);
        if changes.is_partial {
            page.paragraph("Of two networks only those were looked at of which one reaches the other.");
        }
    }
    if plan.diff.is_empty() {
        push_from(&mut page, seen);
    }
    let mut to_know = switches(&plan.diff.changes);
    to_know.extend(items(plan.remarks()));
    if plan.desired.approach == Approach::Sysctl {
        to_know.insert(
            0,
            "- **The sysctl approach stops answers, not packets**: what it says about packets holds for connections \
             alone."
                .to_owned(),
        );
    }
    if seen.host.is_some() && !plan.diff.is_empty() && plan.open.is_none() {
        to_know.push(
            "- Open connections are not in that state, so how many this cuts is not known: `isoplan plan` on the host \
             counts them."
                .to_owned(),
        );
    }
    page.lines("To know\n", &to_know, 14_000);
    let mut pairs = matrix::pairs(&plan.intent, usize::MAX);
    // What passes first.
    let rank = |way: &str| (way == Way::Blocked.as_str(), way != Way::Open.as_str());
    pairs.sort_by_key(|pair| rank(&pair.way));
    let mut pairs: Vec<_> =
        pairs.iter().map(|pair| format!("- {}: {}", code(&pair.what), sentence(&pair.way))).collect();
    let cut = matrix::cut(&plan.intent);
    if cut > 0 {
        pairs.insert(0, format!("- {cut} senders and receivers are left out here"));
    }
    page.fold("Who may talk to whom afterwards", &pairs, 10_000);
    page.fold("What no rule of this closes", &items(&plan.desired.not_covered), 3_000);
    push_rules(&mut page, plan.topology, &plan.diff);
    page.text
}

/// Whether an exception, or one of its addresses and ports, goes.
fn is_gone(change: &Change) -> bool {
    change.kind == Kind::Element && change.action == Action::Delete && change.name.starts_with("allow_v")
}

fn push_from(page: &mut Page, seen: Seen<'_>) {
    if let Some(words) = seen.words {
        page.paragraph(&format!("{}.", sentence(words)));
    }
}
