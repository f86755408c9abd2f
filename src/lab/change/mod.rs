//! Changes of the host, carried out.

mod bridge;
mod nic;
mod route;
mod scene;
mod switch;
mod under_flood;

use std::io;

use self::scene::Scene;
use super::build::Lab;
use super::prober::Prober;
use crate::approach::Approach;
use crate::intent::{Intent, IpFamily};
use crate::verify::change::Change;
use crate::verify::outcome::{Expected, Observation, Outcome};
use crate::verify::probe::Probe;
use crate::verify::world::Place;

/// What a change has seen itself: UDP packets that it has sent. Only [`Change::AppliedUnderFlood`] sends any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// From where.
    pub sender: Place,
    /// Where they arrived.
    pub receiver: Place,
    /// In which family.
    pub family: IpFamily,
    /// What was seen of them.
    pub observation: Observation,
}

/// What has to be so before the approach is applied: a NIC that is not there yet, a switch that is on.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn before_apply(lab: &mut Lab, intent: &Intent<'_>, change: Change) -> io::Result<()> {
    let scene = Scene::new(lab, intent, change)?;
    match change {
        Change::NicAbsentAtApply => nic::unplug(&scene),
        Change::BridgeNfCallOff => switch::bridge_nf_call(scene.lab.host(), "1"),
        _ => Ok(()),
    }
}

/// The change itself, after the approach was applied. Ready for probes when this returns.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn after_apply(
    lab: &mut Lab,
    prober: &mut Prober,
    intent: &Intent<'_>,
    approach: Approach,
    change: Change,
) -> io::Result<Vec<Witness>> {
    let witnesses = carry_out(lab, intent, approach, change)?;
    prober.refresh(lab)?;
    Ok(witnesses)
}

/// The change, but for the captures.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn carry_out(
    lab: &mut Lab,
    intent: &Intent<'_>,
    approach: Approach,
    change: Change,
) -> io::Result<Vec<Witness>> {
    let mut scene = Scene::new(lab, intent, change)?;
    match change {
        Change::ForwardToggled => switch::toggle_forwarding(scene.lab.host())?,
        Change::NicDown => nic::down(&scene)?,
        Change::NicRecreated => {
            nic::unplug(&scene)?;
            nic::plug(&scene)?;
        }
        Change::NicAbsentAtApply => nic::plug(&scene)?,
        Change::NicRenamed => nic::rename(&mut scene)?,
        Change::NicEnslaved => nic::enslave(&mut scene)?,
        Change::BridgeRecreated => bridge::recreate(&scene)?,
        Change::NewContainer => bridge::new_container(&mut scene)?,
        Change::NewNic => nic::add_nic(&mut scene)?,
        Change::SubnetAdded => nic::add_subnet(&mut scene)?,
        Change::DefaultRouteMoved => route::default_moved(&scene)?,
        Change::UpstreamHairpin => route::upstream_hairpin(&scene)?,
        Change::ProxyArp => bridge::proxy_arp(&scene, approach)?,
        Change::SourceRouting => switch::source_routing(scene.lab.host())?,
        Change::BroadcastForwarding => switch::broadcast_forwarding(scene.lab.host())?,
        Change::AcceptFirst => switch::accept_first(&scene, approach)?,
        Change::BridgeNfCallOff => switch::bridge_nf_call(scene.lab.host(), "0")?,
        Change::AppliedUnderFlood => return under_flood::apply(&scene, approach),
        Change::Dnat => switch::dnat(&scene)?,
        Change::Macvlan => bridge::macvlan(&scene)?,
        Change::TcRedirect => bridge::tc_redirect(&scene)?,
        // The prober plays the program on the host.
        Change::Relay => {}
        Change::RulesetFlushed => switch::flush_ruleset(&scene, approach)?,
    }
    Ok(Vec::new())
}

/// What is to be told of a probe: what was seen of it; or what a change has witnessed of packets of its kind,
/// where they arrived and it did not.
pub fn with_witnessed(probe: &Probe, own: Observation, witnesses: &[Witness]) -> Observation {
    let is_of_its_kind = |witness: &&Witness| {
        probe.entry == "udp"
            && probe.expected == Expected::Blocked
            && probe.family == witness.family
            && probe.sender == witness.sender
            && probe.vantage.contains(&witness.receiver)
    };
    match (&own.outcome, witnesses.iter().find(is_of_its_kind)) {
        (Outcome::Blocked, Some(witness)) => witness.observation.clone(),
        _ => own,
    }
}
