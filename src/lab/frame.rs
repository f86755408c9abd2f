//! A [`Packet`] as bytes.

use crate::verify::packet::Packet;
use crate::verify::world::Mac;

/// What every packet of a probe carries, so that it is known wherever it is seen: in the payload, or as the
/// sequence number of a TCP segment without payload. Survives NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub u32);

/// The frames of a packet, in the order of sending; more than one where it is cut.
pub fn frames(_packet: &Packet, _id: Id, _from: Mac, _host: Mac, _source_port: u16) -> Vec<Vec<u8>> {
    todo!()
}
