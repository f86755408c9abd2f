//! A sender that never stops, to see a gap of any length between two rule sets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PORT;
use super::build::{Lab, pin_thread};
use super::capture::Seen;
use super::spec::Family;

/// What the packets of a flood begin with; a number follows.
const MARK: &[u8] = b"flood";

/// A thread that sends numbered UDP packets from one node to another as fast as it can.
pub(crate) struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Flood {
    /// Starts it, on another CPU than the lab's if there is one: packets and a change of the rules then really
    /// meet.
    pub(crate) fn start(lab: &Lab, family: Family, from: &str, to: &str) -> io::Result<Self> {
        Self::start_paced(lab, family, from, to, Duration::ZERO)
    }

    /// The same with a pause after each packet, which leaves the CPU to what is to happen meanwhile.
    pub(crate) fn start_paced(
        lab: &Lab,
        family: Family,
        from: &str,
        to: &str,
        pause: Duration,
    ) -> io::Result<Self> {
        let (from, to) = (lab.node(from), SocketAddr::new(lab.node(to).address(family), PORT));
        let socket = from.enter(|| UdpSocket::bind((from.address(family), 0)))?;
        let sent = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, stopped, cpu) = (Arc::clone(&sent), Arc::clone(&stop), lab.cpu);
        let thread = thread::spawn(move || {
            // With one CPU, or none else allowed, the flood stays with the rest.
            let _ = pin_thread(if cpu == 0 { 1 } else { 0 });
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let payload = [MARK, &number.to_be_bytes()].concat();
                // A full queue is no reason to stop.
                let _ = socket.send_to(&payload, to);
                number += 1;
                counter.store(number, Ordering::Release);
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
            }
            Ok(())
        });
        Ok(Self { sent, stop, thread: Some(thread) })
    }

    /// Every packet with this number or a higher one is sent after now.
    pub(crate) fn now(&self) -> u64 {
        // One may be on its way between the socket and the counter.
        self.sent.load(Ordering::Acquire) + 1
    }

    /// Waits until so many more were sent.
    pub(crate) fn wait_for(&self, more: u64) {
        let until = self.now() + more;
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.sent.load(Ordering::Acquire) < until {
            assert!(Instant::now() < deadline, "the flood has stopped");
            thread::yield_now();
        }
    }

    /// Ends it and says how many were sent.
    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("join the flood").expect("flood");
        }
        self.sent.load(Ordering::Acquire)
    }

    /// The number of a packet that was seen, if it is the flood's.
    pub(crate) fn number(seen: &Seen) -> Option<u64> {
        let number = seen.payload.strip_prefix(MARK)?;
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }
}
