//! `kill -9` at any moment: what is left is the old rule set or the new one, and never
//! forwarding without rules.

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::live::{forwarding, listing};
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
fn run_and_kill(isoplan: &Program, to: State, after: Duration) -> bool {
    use std::process::Stdio;
    let started = Instant::now();
    let mut child = isoplan
        .command(&to.arguments())
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
        while kills < KILLS {
            let others: Vec<State> = looks.keys().copied().filter(|other| *other != state).collect();
            let to = others[usize::from(random.next().is_multiple_of(2))];
            let after = random.up_to(limit);
            runs += 1;
            let was_running = run_and_kill(&isoplan, to, after);
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
        assert!(old > 20 && new > 20, "the kills came all too early or all too late");

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
