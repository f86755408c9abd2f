//! An approach carried out on the host of a lab, and what a container engine has there before it comes.

use std::io;

use super::build::Lab;
use crate::approach::Approach;
use crate::intent::Intent;

/// Whether a container engine has to masquerade in a lab of this approach: isoplan does it only where the
/// topology says so and the approach can.
pub fn engine_masquerades(_intent: &Intent<'_>, _approach: Approach) -> bool {
    todo!()
}

/// Loads what a container engine leaves on a host: masquerade for its bridges out of every other link where
/// `masquerades`, ports published by DNAT, and a FORWARD chain that accepts its bridges.
///
/// # Errors
///
/// When nft refuses it.
pub fn load_engine(_lab: &Lab, _intent: &Intent<'_>, _masquerades: bool) -> io::Result<()> {
    todo!()
}

/// Why an approach cannot be carried out on this machine, if so: a program that is not there.
pub fn lacking(_approach: Approach) -> Option<String> {
    todo!()
}

/// Carries out an approach on the host of the lab, as its user would. May be done again.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn apply(_lab: &Lab, _intent: &Intent<'_>, _approach: Approach) -> io::Result<()> {
    todo!()
}
