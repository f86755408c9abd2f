//! A sender that never stops, in a process of its own: `isoplan lab-stage flood ADDRESS:PORT...`.

use std::io;

/// Sends UDP packets from the namespace that it is in to these addresses and ports, one after the other, until it
/// is killed. It stays off the CPU that it was started on, where another one is allowed: packets and a change of
/// the rules then really meet.
///
/// # Errors
///
/// When an argument is not an address with a port, or no socket can be opened.
pub fn send(_args: &[String]) -> io::Result<()> {
    todo!()
}
