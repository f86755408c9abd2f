//! What arrived where. No thread: a packet waits in the socket of its capture until it is asked for.
//!
//! At a container or a server a capture is a packet socket, which sees what comes in on the wire. On the host a
//! packet socket also sees what the input hook drops afterwards, so there what counts are raw sockets, which get
//! only what the host itself receives; the packet socket tells by which links a packet came in and left.

mod identity;
mod raw;
mod read;
mod wire;

#[cfg(test)]
mod tests;

pub use identity::{Identity, Role};
pub use raw::RawSockets;
pub use read::{Read, Seen, What, frame};
pub use wire::{Direction, PacketSocket, Received};
