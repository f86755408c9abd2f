//! Others who do not give in, and who write more than can be followed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{LIMIT, Watch, bare, until};
use crate::lab::in_namespace;
use crate::live::{listing, rules};

#[test]
fn it_backs_off_from_one_who_keeps_flushing_and_says_who_it_is() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        let (stop, flushes) = (AtomicBool::new(false), AtomicU32::new(0));
        let mark = watch.mark();
        let started = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    host.nft_load("flush ruleset").expect("flush");
                    flushes.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            });
            // The first tells of the fight, and each repair in it once.
            until("three repairs in the fight", LIMIT, || watch.count(mark, "backing_off") >= 3);
            stop.store(true, Ordering::Relaxed);
        });
        let (fought, flushes) = (started.elapsed(), flushes.into_inner());
        let line = watch.wait(mark, "backing_off");
        let message = line["message"].as_str().expect("a message");
        assert!(
            message.starts_with("nft (pid ") && message.contains("keeps undoing table inet isoplan"),
            "{message}"
        );
        assert!(line["by"].as_array().is_some_and(|by| by.iter().all(|one| one["name"] == "nft")), "{line}");
        assert!(fought > Duration::from_secs(3), "after 5 repairs it waits 1 s and 2 s: {fought:?}");
        let lines = watch.lines().len() - mark;
        eprintln!("{flushes} flushes in {fought:?}: {lines} lines");
        assert!(flushes > 50 && lines <= 12, "{:#?}", watch.lines());
        // The last word is the policy's.
        until("the policy is back", LIMIT, || listing(&host) == policy);

        // What is not fought over is repaired at once even now.
        let mark = watch.mark();
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        let said = watch.said.clone();
        assert!(watch.end().success());
        let last = said.lines.lock().expect("lock").last().cloned().expect("lines");
        assert_eq!(last["event"], "ended");
        assert!(
            last["message"].as_str().is_some_and(|text| text.contains("kept undoing table inet isoplan")),
            "{last}"
        );
    });
}

/// A daemon that was stopped for a while has lost events, and knows it.
#[test]
fn lost_events_are_made_up_for_by_reading_everything() {
    const TRANSACTIONS: u32 = 40;
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &["--event-buffer", "1"]);
        let policy = listing(&host);
        let mark = watch.mark();
        watch.signal(Signal::SIGSTOP);
        for number in 0..TRANSACTIONS {
            let mut text = format!("add table ip other{number}\n");
            for chain in 0..5 {
                writeln!(text, "add chain ip other{number} chain{chain}").expect("write to a string");
            }
            if number == TRANSACTIONS - 1 {
                text.push_str("delete table inet isoplan\n");
            }
            host.nft_load(&text).expect("change tables of others");
        }
        assert_eq!(listing(&host), None);
        let started = Instant::now();
        watch.signal(Signal::SIGCONT);
        watch.wait(mark, "repaired");
        eprintln!("repaired {} ms after it went on", started.elapsed().as_millis());
        assert_eq!(listing(&host), policy);
        assert!(watch.count(mark, "overrun") >= 1, "{:#?}", watch.lines());
    });
}

/// Many transactions about isoplan's own table, while it listens with next to no room.
#[test]
fn a_flood_of_transactions_ends_with_the_policy_in_place() {
    const ROUNDS: u32 = 100;
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &["--event-buffer", "1"]);
        let policy = listing(&host);
        thread::scope(|scope| {
            for name in ["one", "two"] {
                let host = &host;
                scope.spawn(move || {
                    for number in 0..ROUNDS {
                        let element =
                            format!("add element inet isoplan guarded_links {{ \"{name}{number}\" }}");
                        // The set may be gone in this very moment; what counts is the end.
                        let _ = host.nft_load(&element);
                        let _ = host.nft_load("delete element inet isoplan guarded_links { \"eth1\" }");
                    }
                });
            }
        });
        // It may be backing off by now: 30 seconds at the most.
        until("the policy is back", Duration::from_secs(60), || listing(&host) == policy);
        let lines = watch.lines().len();
        assert!(lines < 60, "{lines} lines");
    });
}
