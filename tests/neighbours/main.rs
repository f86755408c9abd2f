//! isoplan beside real daemons: dockerd, podman with netavark, firewalld and ufw, from Debian's packages.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test tells what it measured, and why it skips"
)]

#[path = "../lab/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a part of it is used here")]
mod lab;

/// dockerd and its containers.
mod docker;
/// Not a test: firewalld and ufw.
mod firewalls;
/// Not a test: a host of one's own for daemons.
mod host;
/// Nothing is left, however a test ends.
mod left;
/// Not a test: what must be closed and what open around containers.
mod look;
/// Not a test: what others have on the host, as text to compare.
mod others;
/// Not a test: Podman and its containers.
mod podman;
/// Not a test: a sender that never stops.
mod sender;
/// Not a test: a host with two NICs, its neighbours, and probes.
mod site;
/// dockerd with either back end of iptables.
mod with_docker;
/// firewalld and ufw, with dockerd beside them.
mod with_firewalls;
/// Who masquerades, and that it is done once.
mod with_masquerade;
/// Podman with netavark, alone and beside dockerd.
mod with_podman;
/// `isoplan watch` when every rule of the host is flushed.
mod with_watch;

/// The program under test.
const ISOPLAN: &str = env!("CARGO_BIN_EXE_isoplan");
