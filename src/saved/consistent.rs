//! What a state that was read from a kernel always is, whatever the kernel has: what the planner and the
//! renderers rely on.

use crate::diff::LiveState;
use crate::ruleset::{Chain, Expr, LookupTarget, Reg, Set, SetData, TABLE_NAME, Table};

/// Checks a state that comes from a file.
///
/// # Errors
///
/// Says what no kernel hands out.
pub fn check(state: &LiveState) -> Result<(), String> {
    for (family, table) in &state.ruleset {
        if table.family != *family {
            return Err(format!("table {} is listed as one of {family}", table.family));
        }
        if table.name != TABLE_NAME {
            return Err(format!("table `{}` is not isoplan's", table.name));
        }
        let place = |what: String| format!("{what} of table {family} {TABLE_NAME}");
        check_table(table).map_err(place)?;
    }
    let mut keys: Vec<_> = state.journal.iter().map(|entry| &entry.key).collect();
    keys.sort();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("`{}` is in the journal twice", pair[0])),
        None => Ok(()),
    }
}

fn check_table(table: &Table) -> Result<(), String> {
    for (name, set) in &table.sets {
        if set.name != *name {
            return Err(format!("set `{}` is listed as `{name}`", set.name));
        }
        check_set(set)?;
    }
    for (name, chain) in &table.chains {
        if chain.name != *name {
            return Err(format!("chain `{}` is listed as `{name}`", chain.name));
        }
        check_chain(chain)?;
    }
    Ok(())
}

fn check_set(set: &Set) -> Result<(), String> {
    // Of a type that isoplan has no word for: what is in it may have any length.
    if set.foreign_flags == !0 {
        return Ok(());
    }
    if set.key.is_empty() {
        return Err(format!("set `{}` without a type", set.name));
    }
    let length = set.key_len();
    for (key, data) in &set.elements {
        if key.first().len() != length {
            let found = key.first().len();
            return Err(format!("a key of {found} bytes instead of {length} in set `{}`", set.name));
        }
        let fits = match set.data {
            SetData::None => data.value.is_none() && data.verdict.is_none(),
            SetData::Verdict => data.value.is_none(),
            SetData::Value(field) => data.value.as_ref().is_none_or(|value| value.len() == field.len()),
        };
        if !fits {
            return Err(format!("an element that maps to another type in set `{}`", set.name));
        }
    }
    Ok(())
}

fn check_chain(chain: &Chain) -> Result<(), String> {
    let exprs = chain.rules.iter().flat_map(|rule| &rule.exprs);
    let mut registers = exprs.flat_map(registers);
    match registers.find(|register| register.0 > 15) {
        Some(register) => Err(format!("register {} in chain `{}`", register.0, chain.name)),
        None => Ok(()),
    }
}

fn registers(expr: &Expr) -> Vec<Reg> {
    match expr {
        Expr::Meta { dreg, .. }
        | Expr::Ct { dreg, .. }
        | Expr::Payload { dreg, .. }
        | Expr::Exthdr { dreg, .. }
        | Expr::Fib { dreg, .. } => vec![*dreg],
        Expr::Bitwise { sreg, dreg, .. } => vec![*sreg, *dreg],
        Expr::Cmp { sreg, .. } => vec![*sreg],
        Expr::Lookup { sreg, target: LookupTarget::Reg(dreg), .. } => vec![*sreg, *dreg],
        Expr::Lookup { sreg, .. } => vec![*sreg],
        Expr::Snat { address, .. } => vec![*address],
        Expr::Counter { .. } | Expr::Verdict(_) | Expr::Masquerade | Expr::Unknown { .. } => Vec::new(),
    }
}
