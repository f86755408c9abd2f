//! `kill -9` at any moment: what is left is the old rule set or the new one, and never
//! forwarding without rules.

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::live::{forwarding, listing};
use crate::rollback::everything;
use crate::{ISOPLAN, has_namespace_of_its_own};

/// How often isoplan is killed.
const KILLS: u32 = 320;

/// Where a run is to lead: two topologies, and nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Nothing,
    A,
    B,
}

impl State {
    fn arguments(self) -> [&'static str; 3] {
        match self {
            Self::Nothing => ["remove", "--yes", "--color=never"],
            Self::A => ["apply", "a.toml", "--yes"],
            Self::B => ["apply", "b.toml", "--yes"],
        }
    }
}

/// Numbers that look random and come again with the same seed (SplitMix64, Steele and others, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from_environment() -> Self {
        let seed = env::var("ISOPLAN_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos().into());
        let seed = seed.unwrap_or_else(now);
        eprintln!("the seed is {seed}; set ISOPLAN_SEED to have it again");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time up to that long.
    pub(crate) fn up_to(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).expect("a short time");
        Duration::from_nanos(self.next() % nanos)
    }
}

/// Runs isoplan and kills it after that long. Whether it was still there to be killed.
fn run_and_kill(isoplan: &Program, arguments: &[&str], after: Duration) -> bool {
    use std::process::Stdio;
    let started = Instant::now();
    let mut child = isoplan
        .command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start isoplan");
    // A sleep ends too late by as much as a whole run takes.
    while started.elapsed() < after {
        std::hint::spin_loop();
    }
    let was_running = child.try_wait().expect("look after isoplan").is_none();
    child.kill().expect("kill isoplan");
    child.wait().expect("wait for isoplan");
    was_running
}

#[test]
fn killed_at_any_moment_the_rules_are_old_or_new() {
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        isoplan.write("a.toml", &HostSpec::service_instance().bare().topology()).expect("write a topology");
        isoplan.write("b.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");

        // What each state looks like when nobody is killed, and how long it takes at least to get there: a run
        // that has ended cannot be killed.
        let mut looks = BTreeMap::from([(State::Nothing, listing(&host))]);
        let mut limit = Duration::MAX;
        for state in [State::A, State::Nothing, State::B, State::Nothing, State::A, State::Nothing] {
            let started = Instant::now();
            isoplan.run(&state.arguments()).ok();
            if state != State::Nothing {
                limit = limit.min(started.elapsed());
            }
            let look = listing(&host);
            assert_eq!(*looks.entry(state).or_insert_with(|| look.clone()), look, "{state:?}");
            let forwards = if state == State::Nothing { "0" } else { "1" };
            assert_eq!(forwarding(&host), [forwards; 2], "{state:?}");
        }
        assert_eq!(looks[&State::Nothing], None);

        let mut random = Random::from_environment();
        let mut state = State::Nothing;
        let (mut kills, mut runs, mut old, mut new) = (0_u32, 0_u32, 0_u32, 0_u32);
        // Until kills came early enough and late enough, however busy the machine is.
        while kills < KILLS || old.min(new) <= 20 {
            let others: Vec<State> = looks.keys().copied().filter(|other| *other != state).collect();
            let to = others[usize::from(random.next().is_multiple_of(2))];
            let after = random.up_to(limit);
            runs += 1;
            let was_running = run_and_kill(&isoplan, &to.arguments(), after);
            kills += u32::from(was_running);
            // Follows the speed of the machine, so that kills reach to the very end of a run.
            limit = limit.mul_f64(if was_running { 1.02 } else { 0.9 });
            let look = listing(&host);
            if look == looks[&state] {
                old += 1;
            } else if look == looks[&to] {
                new += 1;
                state = to;
            } else {
                panic!("{state:?} -> {to:?}, killed after {after:?}: neither old nor new\n{look:#?}");
            }
            // This host did not forward before isoplan; it must not forward without the rules.
            for value in forwarding(&host) {
                let is_safe = value == "0" || (value == "1" && state != State::Nothing);
                assert!(is_safe, "{to:?}, killed after {after:?}: forwarding is {value} with {state:?}");
            }
        }
        eprintln!("{runs} runs, {kills} killed: {old} times the old rules, {new} times the new");

        // However often it was cut short, it knows where it started from and gets to where it is sent.
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        assert_eq!(listing(&host), looks[&State::B]);
        assert_eq!(forwarding(&host), ["1"; 2]);
        let plan = isoplan.run(&["plan", "b.toml", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{plan}");
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(listing(&host), None);
        assert_eq!(forwarding(&host), ["0"; 2]);
    });
}

/// How often a rollback, and an apply that is rolled back, are killed.
const KILLS_OF_ROLLBACK: u32 = 120;
/// The same for an apply that waits to be confirmed, and its confirmation.
const KILLS_OF_CONFIRM: u32 = 60;

/// Whatever was killed, an apply or the rollback of it: another rollback leads to what was before, byte for byte.
#[test]
fn killed_at_any_moment_a_rollback_leads_back() {
    in_namespace(|| {
        let (host, isoplan) = crate::rollback::host();
        let mut random = Random::from_environment();
        let (mut limit, mut kills, mut old, mut new) = (Duration::from_millis(40), 0, 0, 0);
        let files = [Some("a.toml"), Some("sysctl.toml"), Some("b.toml"), None];
        let run_to = |file: Option<&'static str>| match file {
            Some(file) => vec!["apply", file, "--yes"],
            None => vec!["remove", "--yes"],
        };
        while kills < KILLS_OF_ROLLBACK || old.min(new) <= 10 {
            let first = files[usize::try_from(random.next() % 4).expect("small")];
            let then = files[usize::try_from(random.next() % 4).expect("small")];
            if first == then {
                continue;
            }
            isoplan.run(&run_to(first)).ok();
            let before = everything(&host);
            let of_apply = random.next().is_multiple_of(3);
            let killed = if of_apply {
                run_to(then)
            } else {
                isoplan.run(&run_to(then)).ok();
                vec!["rollback", "--yes"]
            };
            let applied = listing(&host);
            let was_running = run_and_kill(&isoplan, &killed, random.up_to(limit));
            kills += u32::from(was_running);
            limit = limit.mul_f64(if was_running { 1.02 } else { 0.9 });
            let look = listing(&host);
            if look == applied {
                old += 1
            } else {
                new += 1
            }
            // Where isoplan has drops, or forwarding is off, it is closed; nothing is in between.
            for value in forwarding(&host) {
                let is_safe = value == "0"
                    || look.is_some()
                    || first == Some("sysctl.toml")
                    || then == Some("sysctl.toml");
                assert!(is_safe, "{first:?} -> {then:?}, {killed:?}: forwarding is {value} without rules");
            }
            // An apply that was killed before it was on record leaves the last change the one before it.
            if of_apply && everything(&host) == before {
                continue;
            }
            isoplan.run(&["rollback", "--yes"]).ok();
            assert_eq!(everything(&host), before, "{first:?} -> {then:?}, killed: {killed:?}");
        }
        eprintln!("{kills} kills: {old} times as before the kill, {new} times otherwise");
    });
}

/// An apply that waits to be confirmed, or its confirmation, is killed: in the end it is there whole and
/// confirmed, or gone.
#[test]
fn killed_at_any_moment_a_change_is_confirmed_or_gone() {
    in_namespace(|| {
        let (host, isoplan) = crate::rollback::host();
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        let before = everything(&host);
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        let applied = everything(&host);
        isoplan.run(&["rollback", "--yes"]).ok();
        let mut random = Random::from_environment();
        let (mut limit, mut kills, mut kept, mut gone) = (Duration::from_millis(40), 0, 0, 0);
        while kills < KILLS_OF_CONFIRM || kept.min(gone) <= 5 {
            let within: &[&str] = &["apply", "b.toml", "--yes", "--confirm-within", "1h"];
            let of_confirm = random.next().is_multiple_of(3);
            let killed = if of_confirm {
                isoplan.run(within).ok();
                &["confirm"]
            } else {
                within
            };
            let was_running = run_and_kill(&isoplan, killed, random.up_to(limit));
            kills += u32::from(was_running);
            limit = limit.mul_f64(if was_running { 1.02 } else { 0.9 });
            let look = everything(&host);
            let mut is_whole = look == applied;
            if of_confirm {
                assert!(is_whole, "a confirmation changes nothing");
            }
            // Confirmed now or before, or cut short.
            let confirm = isoplan.run(&["confirm"]);
            match confirm.code {
                Some(0) => assert!(is_whole, "{confirm}"),
                Some(1) if confirm.stderr.contains("cut short") => {
                    isoplan.run(&["rollback", "--yes"]).ok();
                    is_whole = false;
                }
                Some(1) => assert!(is_whole == of_confirm && (is_whole || look == before), "{confirm}"),
                _ => panic!("{confirm}"),
            }
            if is_whole {
                kept += 1
            } else {
                gone += 1
            }
            assert_eq!(everything(&host), if is_whole { applied.clone() } else { before.clone() });
            if is_whole {
                isoplan.run(&["rollback", "--yes"]).ok();
                assert_eq!(everything(&host), before);
            }
            crate::confirm::until("the watcher goes", Duration::from_secs(20), || {
                crate::confirm::watchers().is_empty()
            });
        }
        eprintln!("{kills} kills: {kept} times kept, {gone} times gone");
    });
}
