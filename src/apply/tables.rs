//! Repairing the tables alone, where the state directory cannot be used.

use super::{Error, Report, SignalsHeld, TRIES, refused, settle};
use crate::approach::Desired;
use crate::diff::{Diff, LiveState, diff, same_tables};
use crate::live;
use crate::netlink::{CommitError, Nftables, encode};
use crate::ruleset::{Ruleset, TABLE_NAME};

/// Carries out the transaction of `planned` and nothing else of it: no file is read or written, and no sysctl.
///
/// # Errors
///
/// See [`Error`]: each says in which state the host is.
pub fn carry_out_tables(
    nftables: &mut Nftables,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
) -> Result<Report, Error> {
    let _signals = SignalsHeld::new();
    let mut generation = before.generation;
    for tries in 1..=TRIES {
        let transaction = encode(&planned.ops, Some(generation));
        let report = Report { transaction_bytes: transaction.len_bytes(), tries };
        match nftables.commit(&transaction) {
            Ok(()) => return Ok(report),
            Err(CommitError::Moved) => {}
            Err(source @ CommitError::Unknown { .. }) => {
                let is_done = |now: &Ruleset| {
                    let now = LiveState { ruleset: now.clone(), ..before.clone() };
                    diff(desired, &now).ops.is_empty()
                };
                return settle(nftables, &planned.ops, source, &before.ruleset, is_done).map(|()| report);
            }
            Err(source) => return Err(refused(&planned.ops, source)),
        }
        // If it was not about isoplan's tables, the steps are the same.
        let ruleset = |error| Error::Live(live::Error::Ruleset(error));
        let now = nftables.read_tables(TABLE_NAME).map_err(ruleset)?;
        if !same_tables(&now.tables, &before.ruleset) {
            return Err(Error::PlanIsStale);
        }
        generation = now.generation;
    }
    Err(Error::KeepsMoving)
}
