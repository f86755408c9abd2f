//! What packets get through while something is repaired.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{SECOND, Watch, until};
use crate::lab::capture::Seen;
use crate::lab::flood::Flood;
use crate::lab::packet::Kind;
use crate::lab::{Family, HostSpec, Lab, Outcome, PORT, in_namespace};
use crate::live::{Rule, listing, rules};
use crate::{check, is_answered, start};

/// No more than that are repaired at once before it is a fight.
const AT_ONCE: usize = 4;

#[test]
fn not_one_packet_passes_while_a_rule_is_repaired() {
    in_namespace(|| {
        let family = Family::V4;
        let (lab, isoplan) = start(HostSpec::service_instance());
        let storage = lab.node("storage").index;
        let arrived = |mark: usize, from: u64| {
            lab.journal.count(mark, |seen| {
                seen.node == storage && Flood::number(seen).is_some_and(|number| number >= from)
            })
        };
        let mark = lab.journal.mark();
        let flood = Flood::start(&lab, family, "web", "storage").expect("start the flood");
        flood.wait_for(500);
        lab.settle(lab.node("web"), family).expect("settle");
        assert!(arrived(mark, 0) > 0, "without isoplan the flood arrives");

        let watch = Watch::start(&isoplan, &[]);
        let closed_from = flood.now();
        let policy = listing(lab.host());
        let drops = |rule: &Rule| rule.drops && rule.chain == "forward";
        for place in 0..AT_ONCE {
            let rule = rules(lab.host()).into_iter().filter(drops).nth(place).expect("a drop");
            let lines = watch.mark();
            rule.delete(lab.host());
            watch.wait(lines, "repaired");
            flood.wait_for(500);
            assert_eq!(listing(lab.host()), policy);
        }
        let sent = flood.stop();
        lab.settle(lab.node("web"), family).expect("settle");
        check("the capture lives", &[lab.probe(Kind::Udp, family, "host", "storage")], is_answered);
        let passed = arrived(mark, closed_from);
        assert_eq!(passed, 0, "{passed} of {} packets passed in {AT_ONCE} repairs", sent - closed_from);
        assert_eq!(watch.count(0, "backing_off"), 0);
        drop(watch);
        isoplan.run(&["remove", "--yes"]).ok();
        check("after remove", &[lab.probe(Kind::Udp, family, "web", "storage")], Outcome::is_delivered);
    });
}

/// Sends packets that bear the time at which they were sent, in microseconds.
struct Clock {
    began: Instant,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

const MARK: &[u8] = b"clock";

impl Clock {
    fn start(lab: &Lab, family: Family, from: &str, to: &str) -> Self {
        let (from, to) = (lab.node(from), SocketAddr::new(lab.node(to).address(family), PORT));
        let socket = from.enter(|| UdpSocket::bind((from.address(family), 0))).expect("bind");
        let (began, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let now = u64::try_from(began.elapsed().as_micros()).expect("a short time");
                let _ = socket.send_to(&[MARK, &now.to_be_bytes()].concat(), to);
                // Leaves the CPU to the one that repairs.
                thread::sleep(Duration::from_micros(100));
            }
        });
        Self { began, stop, thread: Some(thread) }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When a packet that was seen was sent, if it is the clock's.
    fn sent(seen: &Seen) -> Option<Duration> {
        let time = seen.payload.strip_prefix(MARK)?;
        Some(Duration::from_micros(u64::from_be_bytes(time.try_into().ok()?)))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// `nft flush ruleset` leaves a gap until it is repaired. This is how long it is.
#[test]
fn the_gap_that_a_flush_leaves_is_short() {
    in_namespace(|| {
        let family = Family::V4;
        let (lab, isoplan) = start(HostSpec::service_instance());
        let storage = lab.node("storage").index;
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(lab.host());
        let clock = Clock::start(&lab, family, "web", "storage");
        let mut gaps = Vec::new();
        for _ in 0..AT_ONCE {
            let (lines, mark) = (watch.mark(), lab.journal.mark());
            let before = clock.now();
            lab.host().nft_load("flush ruleset").expect("flush");
            let line = watch.wait(lines, "repaired");
            until("the policy is back", SECOND, || listing(lab.host()) == policy);
            let closed = clock.now();
            lab.settle(lab.node("web"), family).expect("settle");
            // Later ones do not pass: the gap is over.
            until("packets were sent since", SECOND, || clock.now() > closed + Duration::from_millis(50));
            lab.settle(lab.node("web"), family).expect("settle");
            let mut times: Vec<Duration> = Vec::new();
            lab.journal.count(mark, |seen| {
                seen.node == storage && Clock::sent(seen).is_some_and(|time| time >= closed)
            });
            while let Some(seen) = lab.journal.find(mark, |seen| {
                let after = times.last().copied().unwrap_or(before);
                seen.node == storage && Clock::sent(seen).is_some_and(|time| time > after)
            }) {
                times.extend(Clock::sent(&seen));
            }
            let late = times.iter().filter(|time| **time > closed).count();
            assert_eq!(late, 0, "packets passed after the repair");
            let gap = match (times.first(), times.last()) {
                (Some(first), Some(last)) => *last - *first,
                _ => Duration::ZERO,
            };
            eprintln!(
                "{} packets passed in {:.1} ms; by its own account it took {} ms",
                times.len(),
                gap.as_secs_f64() * 1e3,
                line["took_ms"]
            );
            assert!(gap < SECOND, "{gap:?}");
            gaps.push((gap, times.len()));
        }
        assert!(gaps.iter().any(|(_, packets)| *packets > 0), "the flush was not seen in packets: {gaps:?}");
        drop(clock);
    });
}
