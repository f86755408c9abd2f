//! A sender in a container that never stops: from the first apply on, not one of its packets may arrive.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::capture::{Seen, What};
use crate::lab::node::Node;
use crate::site::{STORAGE, STORAGE_PORT, STORAGE_V6, Site, address, wait_until};

/// What its packets begin with; a number follows.
const MARK: &[u8] = b"stream";
/// How many it sends in a second over each family: many, and not so many that the machine is busy with it alone.
const RATE: u64 = 4000;
/// How many at once, where it was kept from the CPU and has to catch up.
const AT_ONCE: u64 = 200;

/// A thread that sends numbered UDP packets from a container to storage, over each family that the container has.
pub(crate) struct Sender {
    /// How many the kernel has taken.
    sent: Arc<AtomicU64>,
    /// The number of the next one.
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Since when none may arrive.
    closed: Option<Closed>,
}

/// The moment from which on everything is closed.
struct Closed {
    /// The first number that is sent after it.
    number: u64,
    /// What the journal had then.
    mark: usize,
    /// How many had been sent then.
    sent: u64,
    at: Instant,
}

impl Sender {
    /// Starts it and waits until it is seen at storage: the way works.
    pub(crate) fn start(site: &Site, from: &Node, v6: bool) -> io::Result<Self> {
        let mark = site.journal.mark();
        let mut sockets = vec![(from.enter(|| UdpSocket::bind("0.0.0.0:0"))?, STORAGE)];
        if v6 {
            sockets.push((from.enter(|| UdpSocket::bind("[::]:0"))?, STORAGE_V6));
        }
        let families = sockets.len();
        let [sent, next] = [0, 0].map(|zero| Arc::new(AtomicU64::new(zero)));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, upcoming, stopped) = (Arc::clone(&sent), Arc::clone(&next), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (mut number, begun) = (0_u64, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let due = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX) * RATE / 1000;
                number = number.max(due.saturating_sub(AT_ONCE));
                while number < due {
                    let payload = [MARK, &number.to_be_bytes()].concat();
                    for (socket, to) in &sockets {
                        // Without a link there is nothing to send on; such a number was not sent.
                        if socket.send_to(&payload, SocketAddr::new(address(to), STORAGE_PORT)).is_ok() {
                            counter.fetch_add(1, Ordering::Release);
                        }
                    }
                    number += 1;
                    upcoming.store(number, Ordering::Release);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let sender = Self { sent, next, stop, thread: Some(thread), closed: None };
        for v6 in [false, true].into_iter().take(families) {
            wait_until("the sender is seen at storage", Duration::from_secs(10), || {
                site.journal
                    .find(mark, |seen| {
                        seen.node == site.storage.index
                            && seen.payload.starts_with(MARK)
                            && seen.source.is_ipv6() == v6
                    })
                    .is_some()
            });
        }
        Ok(sender)
    }

    /// From now on none may arrive. To be called when `apply` has returned.
    pub(crate) fn is_closed_from_now(&mut self, site: &Site) {
        let mark = site.journal.mark();
        // One may be on its way between the socket and the counter.
        let number = self.next.load(Ordering::Acquire) + 1;
        self.closed =
            Some(Closed { number, mark, sent: self.sent.load(Ordering::Acquire), at: Instant::now() });
    }

    /// Panics if one has arrived, and says how many were sent.
    #[track_caller]
    pub(crate) fn check(&self, site: &Site, when: &str) {
        let closed = self.closed.as_ref().expect("it is closed");
        // However short the time was and however busy the machine: some have been sent in it.
        wait_until("the sender goes on", Duration::from_secs(10), || {
            self.sent.load(Ordering::Acquire) >= closed.sent + 20
        });
        let arrived = site.journal.count(closed.mark, |seen| {
            seen.node == site.storage.index
                && number_of(&seen.payload).is_some_and(|number| number >= closed.number)
        });
        let echoes = pings(site, closed.mark);
        let sent = self.sent.load(Ordering::Acquire) - closed.sent;
        let seconds = closed.at.elapsed().as_secs_f64();
        println!(
            "  {when}: {sent} packets sent to storage in {seconds:.1} s ({:.0} per second), {arrived} arrived, and {echoes} echo requests",
            per_second(sent, seconds)
        );
        assert!(seconds < 1.0 || per_second(sent, seconds) > 1000.0, "the sender is too slow");
        assert_eq!((arrived, echoes), (0, 0), "{when}: packets from a container at storage");
    }

    /// How many have arrived since that mark of the journal, and how long it took between the first and the last, by their
    /// numbers, which go up with time.
    pub(crate) fn got_through(site: &Site, mark: usize) -> (usize, Duration) {
        let numbers = RefCell::new(Vec::new());
        site.journal.count(mark, |seen| {
            let is_one = seen.node == site.storage.index;
            numbers.borrow_mut().extend(number_of(&seen.payload).filter(|_| is_one));
            false
        });
        let numbers = numbers.into_inner();
        let between =
            numbers.iter().max().zip(numbers.iter().min()).map_or(0, |(last, first)| last - first + 1);
        (numbers.len(), Duration::from_millis(between * 1000 / RATE))
    }

    /// Waits until they arrive again: the sender is still alive, and the captures are.
    pub(crate) fn wait_until_open(&self, site: &Site) {
        let mark = site.journal.mark();
        wait_until("the sender is seen at storage again", Duration::from_secs(10), || {
            site.journal
                .find(mark, |seen| seen.node == site.storage.index && seen.payload.starts_with(MARK))
                .is_some()
        });
    }
}

/// How many packets of containers have arrived at storage since that mark of the journal: of senders, and pings.
pub(crate) fn arrived(site: &Site, mark: usize) -> usize {
    let packets = |seen: &Seen| seen.node == site.storage.index && seen.payload.starts_with(MARK);
    site.journal.count(mark, packets) + pings(site, mark)
}

/// How many echo requests of containers have arrived at storage. Those of the host's own probes carry nothing.
pub(crate) fn pings(site: &Site, mark: usize) -> usize {
    site.journal.count(mark, |seen| {
        seen.node == site.storage.index && seen.what == What::EchoRequest && !seen.payload.is_empty()
    })
}

/// The number of a packet, if it is a sender's.
fn number_of(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.strip_prefix(MARK)?.try_into().ok()?))
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(sent: u64, seconds: f64) -> f64 {
    sent as f64 / seconds
}
