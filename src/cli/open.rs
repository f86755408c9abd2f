//! Connections that are open while a plan is made.

use crate::approach::Approach;
use crate::diff::LiveState;
use crate::error::{Exit, Failure};
use crate::flows::keep::Kept;
use crate::flows::{Cuts, Judge};
use crate::live;
use crate::plan::Plan;
use crate::topology::Topology;

/// Looks at what a plan cuts. A plan that changes nothing cuts nothing.
pub(super) fn look(plan: &mut Plan<'_>, live: &LiveState) {
    plan.open = Some(if plan.diff.is_empty() { Ok(Cuts::default()) } else { cut_by(plan, live, false) });
}

/// A plan that keeps what it would cut.
pub(super) fn keeping<'t>(topology: &'t Topology, live: &LiveState) -> Result<Plan<'t>, Failure> {
    let plain = Plan::with_kept(topology, live, Kept::default());
    if plain.desired.approach != Approach::Nftables {
        let approach = plain.desired.approach.as_str();
        return Err(Failure::new(format!("the approach `{approach}` cannot keep connections"))
            .exit(Exit::Usage)
            .hint("it drops all that comes in by a link, and has no rules that could tell one connection from another"));
    }
    let cuts = cut_by(&plain, live, true).map_err(|why| {
        Failure::new("cannot look at open connections, so that none could be kept").because(why)
    })?;
    let mut plan = Plan::with_kept(topology, live, cuts.kept.clone());
    plan.open = Some(Ok(cuts));
    Ok(plan)
}

fn cut_by(plan: &Plan<'_>, live: &LiveState, keeps: bool) -> Result<Cuts, String> {
    let host = live::host().map_err(|error| format!("routes: {error}"))?;
    let mut judge = Judge::new(&plan.intent, &plan.desired, live, &host, keeps);
    live::flows(|flow| judge.see(&flow)).map_err(|error| format!("conntrack: {error}"))?;
    Ok(judge.finish())
}
