//! Backing off from another writer that undoes repairs again and again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Matter, Moment, Writers};

/// So many repairs of the same matter within [`WINDOW`] are made at once. Then it is a fight.
const AT_ONCE: usize = 5;
/// A minute.
const WINDOW: u64 = 60_000;
/// The first pause; each is twice the one before.
const FIRST_PAUSE: u64 = 1_000;
/// The longest pause before rules are put back. Without them the host is open, and a transaction each half
/// minute burdens nobody.
const LONGEST_FOR_RULES: u64 = 30_000;
/// The longest pause before a sysctl is written again: five minutes.
const LONGEST: u64 = 300_000;

/// How long to wait in a fight, after so many repairs in it.
fn pause(matter: &Matter, repairs: u32) -> u64 {
    let longest = if matter.is_rules() { LONGEST_FOR_RULES } else { LONGEST };
    FIRST_PAUSE.saturating_mul(1_u64.checked_shl(repairs).unwrap_or(u64::MAX)).min(longest)
}

/// What is known of one matter.
#[derive(Debug, Clone, Default)]
struct Account {
    /// Repairs within the last [`WINDOW`].
    recent: VecDeque<Moment>,
    last: Moment,
    total: u64,
    /// Since it is a fight: how many repairs there were in it.
    in_fight: Option<u32>,
    writers: Writers,
}

impl Account {
    fn pause(&self, matter: &Matter) -> u64 {
        self.in_fight.map_or(0, |repairs| pause(matter, repairs))
    }

    /// When it is forgotten, if nothing happens any more.
    fn ends(&self, matter: &Matter) -> Moment {
        self.last.after(WINDOW.max(2 * self.pause(matter)))
    }
}

/// Whether a difference is to be repaired now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Now.
    AtOnce,
    /// Not before that.
    NotBefore(Moment),
}

/// A matter that is fought over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fight {
    /// Which.
    pub matter: Matter,
    /// How many repairs of it there were in all.
    pub repairs: u64,
    /// Who was seen undoing them.
    pub writers: Writers,
    /// How long the pause after the last repair is, in milliseconds.
    pub pause: u64,
    /// Whether the last repair made it one.
    pub is_new: bool,
}

/// What was repaired how often, and who undid it.
#[derive(Debug, Clone, Default)]
pub struct Fights(BTreeMap<Matter, Account>);

impl Fights {
    /// Whether to repair a difference about these now. Whatever is not fought over is repaired at once, and
    /// the rest of the difference with it.
    pub fn judge(&self, now: Moment, matters: &BTreeSet<Matter>) -> Judgement {
        let due = |matter: &Matter| {
            let account = self.0.get(matter)?;
            account.in_fight?;
            Some(account.last.after(account.pause(matter)))
        };
        match matters.iter().map(due).min().flatten() {
            Some(due) if due > now => Judgement::NotBefore(due),
            _ => Judgement::AtOnce,
        }
    }

    /// Notes a repair, with those that made it necessary.
    pub fn repaired(&mut self, now: Moment, matters: &BTreeSet<Matter>, writers: &Writers) -> Vec<Fight> {
        self.forget(now);
        let mut fights = Vec::new();
        for matter in matters {
            let account = self.0.entry(matter.clone()).or_default();
            account.recent.push_back(now);
            account.recent.retain(|moment| now.since(*moment) < WINDOW);
            account.last = now;
            account.total += 1;
            writers.each().for_each(|writer| account.writers.saw(&writer));
            let is_new = account.in_fight.is_none();
            account.in_fight = match account.in_fight {
                Some(repairs) => Some(repairs.saturating_add(1)),
                None if account.recent.len() >= AT_ONCE => Some(0),
                None => None,
            };
            if account.in_fight.is_some() {
                fights.push(Self::fight(matter, account, is_new));
            }
        }
        fights
    }

    /// Forgets what has been in place for long enough, and tells which fights are over by that.
    pub fn forget(&mut self, now: Moment) -> Vec<Matter> {
        let is_over = |matter: &Matter, account: &Account| account.ends(matter) <= now;
        let over = self.0.iter().filter(|(matter, account)| is_over(matter, account));
        let over: Vec<_> =
            over.map(|(matter, account)| (matter.clone(), account.in_fight.is_some())).collect();
        for (matter, _) in &over {
            self.0.remove(matter);
        }
        over.into_iter().filter(|(_, was_fight)| *was_fight).map(|(matter, _)| matter).collect()
    }

    /// When [`Self::forget`] has something to do.
    pub fn next_end(&self) -> Option<Moment> {
        self.0.iter().map(|(matter, account)| account.ends(matter)).min()
    }

    /// Every fight that is not over.
    pub fn each(&self) -> impl Iterator<Item = Fight> {
        let fights = self.0.iter().filter(|(_, account)| account.in_fight.is_some());
        fights.map(|(matter, account)| Self::fight(matter, account, false))
    }

    fn fight(matter: &Matter, account: &Account, is_new: bool) -> Fight {
        Fight {
            matter: matter.clone(),
            repairs: account.total,
            writers: account.writers.clone(),
            pause: account.pause(matter),
            is_new,
        }
    }
}
