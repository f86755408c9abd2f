//! Hours of events in a millisecond.

use std::collections::BTreeSet;

use super::*;
use crate::ruleset::Family;

fn table() -> BTreeSet<Matter> {
    BTreeSet::from([Matter::Table(Family::Inet)])
}

fn sysctl() -> BTreeSet<Matter> {
    BTreeSet::from([Matter::Sysctl("net/ipv4/ip_forward".to_owned())])
}

fn nft(pid: u32) -> Writers {
    let mut writers = Writers::default();
    writers.saw(&Writer { name: "nft".to_owned(), pid });
    writers
}

#[test]
fn a_few_things_told_are_looked_at_without_delay_and_a_burst_when_it_is_quiet() {
    let mut burst = Burst::default();
    assert_eq!(burst.due(), None);
    for now in [1_000, 1_010, 1_020, 1_030] {
        burst.told(Moment(now));
        assert_eq!(burst.due(), Some(Moment(now)));
        burst.looked(Moment(now + 1));
        assert_eq!(burst.due(), None);
    }
    // Now it waits until it is quiet.
    burst.told(Moment(1_040));
    assert_eq!(burst.due(), Some(Moment(1_070)));
    burst.told(Moment(1_060));
    assert_eq!(burst.due(), Some(Moment(1_090)));
    // But not for ever.
    for now in (1_060..1_900).step_by(10) {
        burst.told(Moment(now));
    }
    assert_eq!(burst.due(), Some(Moment(1_290)));
    burst.looked(Moment(1_290));
    // And after a calm again without delay.
    burst.told(Moment(2_030));
    assert_eq!(burst.due(), Some(Moment(2_030)));
    // A look that nothing led to is no part of a burst.
    let mut burst = Burst::default();
    for now in 0..10 {
        burst.looked(Moment(now));
    }
    burst.told(Moment(10));
    assert_eq!(burst.due(), Some(Moment(10)));
}

/// Somebody who undoes every repair at once, for so long: the moments of the repairs.
fn fight(matters: &BTreeSet<Matter>, until: Moment) -> Vec<Moment> {
    let mut fights = Fights::default();
    let mut now = Moment(0);
    let mut repairs = Vec::new();
    while now < until {
        match fights.judge(now, matters) {
            Judgement::AtOnce => {
                fights.repaired(now, matters, &nft(u32::try_from(repairs.len()).unwrap()));
                repairs.push(now);
                now = now.after(10);
            }
            Judgement::NotBefore(due) => {
                assert!(due > now);
                now = due;
            }
        }
    }
    repairs
}

#[test]
fn five_repairs_are_made_at_once_and_then_the_pauses_double() {
    const HOUR: Moment = Moment(3_600_000);
    let repairs = fight(&table(), HOUR);
    let pauses: Vec<u64> = repairs.windows(2).map(|two| two[1].since(two[0])).collect();
    assert_eq!(pauses[..10], [10, 10, 10, 10, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
    assert!(pauses[10..].iter().all(|pause| *pause == 30_000), "{pauses:?}");

    let repairs = fight(&sysctl(), HOUR);
    let longest = repairs.windows(2).map(|two| two[1].since(two[0])).max();
    assert_eq!(longest, Some(300_000));
    assert!(repairs.len() < 30, "{}", repairs.len());
}

#[test]
fn what_is_not_fought_over_is_repaired_at_once_in_the_midst_of_a_fight() {
    let mut fights = Fights::default();
    for now in 0..8 {
        fights.repaired(Moment(now), &sysctl(), &nft(7));
    }
    assert_eq!(fights.judge(Moment(8), &sysctl()), Judgement::NotBefore(Moment(7 + 8_000)));
    assert_eq!(fights.judge(Moment(8), &table()), Judgement::AtOnce);
    let both: BTreeSet<_> = table().union(&sysctl()).cloned().collect();
    assert_eq!(fights.judge(Moment(8), &both), Judgement::AtOnce);
}

#[test]
fn repairs_that_are_far_apart_are_no_fight() {
    let mut fights = Fights::default();
    for round in 0..100 {
        let now = Moment(round * 15_000);
        assert_eq!(fights.judge(now, &table()), Judgement::AtOnce);
        assert_eq!(fights.repaired(now, &table(), &nft(1)), []);
    }
    assert_eq!(fights.forget(Moment(99 * 15_000 + 60_000)), []);
    assert_eq!(fights.next_end(), None);
}

#[test]
fn a_fight_ends_when_nobody_undoes_the_repair_any_more() {
    let mut fights = Fights::default();
    let mut last = Vec::new();
    for now in 0..5 {
        last = fights.repaired(Moment(now), &table(), &nft(u32::try_from(now).unwrap()));
    }
    let [fight] = last.as_slice() else { panic!("{last:?}") };
    assert!(fight.is_new);
    assert_eq!((fight.repairs, fight.pause), (5, 1_000));
    assert_eq!(fight.writers.to_string(), "nft (pid 2, 3, 4 and 2 before)");
    assert_eq!(fights.each().count(), 1);
    assert_eq!(fights.next_end(), Some(Moment(60_004)));
    assert_eq!(fights.forget(Moment(60_003)), []);
    assert_eq!(fights.forget(Moment(60_004)), [Matter::Table(Family::Inet)]);
    assert_eq!(fights.judge(Moment(60_005), &table()), Judgement::AtOnce);
    assert_eq!(fights.each().count(), 0);
}

#[test]
fn lines_are_left_out_and_counted() {
    let mut limiter = Limiter::default();
    let said = (0..500_u64).filter(|now| limiter.admit(Moment(*now), Event::Repaired).is_some()).count();
    assert_eq!(said, 20);
    // Of another kind it is the first.
    assert_eq!(limiter.admit(Moment(500), Event::Failed), Some(0));
    assert_eq!(limiter.admit(Moment(60_100), Event::Repaired), Some(480));
    assert!((0..500).all(|now| limiter.admit(Moment(now), Event::Reloaded).is_some()));
}

#[test]
fn a_name_cannot_break_a_line() {
    let writer = Writer { name: "nft\n<0>all is well\u{1b}[2J".to_owned(), pid: 7 };
    assert_eq!(writer.to_string(), "nft?<0>all is well?[2J (pid 7)");
    let mut writers = Writers::default();
    writers.saw(&writer);
    assert!(!writers.to_string().contains(char::is_control));
    let chain = Touch { object: Object::Chain("a\nb".to_owned()), deleted: true, family: Family::Inet };
    assert_eq!(chain.to_string(), "deleted chain a?b of table inet isoplan");
    // However many there are, few are kept.
    for pid in 0..1_000 {
        writers.saw(&Writer { name: format!("name-{}", pid % 100), pid });
    }
    assert!(writers.each().count() <= 24);
}

#[test]
fn the_most_telling_is_told() {
    let touch = |object, deleted| Touch { object, deleted, family: Family::Inet };
    let transaction = Transaction {
        generation: 9,
        port: 1,
        writer: Some(Writer { name: "nft".to_owned(), pid: 3 }),
        touches: BTreeSet::from([
            touch(Object::Rules("forward".to_owned()), true),
            touch(Object::Table, true),
            touch(Object::Chain("forward".to_owned()), true),
        ]),
    };
    assert_eq!(transaction.story().as_deref(), Some("nft (pid 3) deleted table inet isoplan"));
    assert_eq!(Transaction { touches: BTreeSet::new(), ..transaction }.story(), None);
}

#[test]
fn a_guess_needs_something_to_go_by() {
    use crate::approach::SysctlKey;
    use crate::diff::SysctlWrite;
    let write =
        |key: &str| SysctlWrite { key: SysctlKey(key.to_owned()), old: "1".to_owned(), new: "0".to_owned() };
    assert_eq!(guess(&[], &["dockerd"]), None);
    assert_eq!(guess(&[write("net/ipv4/ip_forward")], &[]), None);
    let of_dockerd = guess(&[write("net/ipv4/ip_forward")], &["dockerd"]);
    assert_eq!(of_dockerd.as_deref(), Some("dockerd may write it, and runs here"));
    let of_switch = guess(&[write("net/ipv6/conf/eth1/forwarding")], &[]);
    assert!(of_switch.is_some_and(|text| text.contains("net/ipv6/conf/all/forwarding resets")));
}
