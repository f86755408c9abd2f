//! The links of another network namespace, as far as they concern one that is given.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use super::attr::{self, Writer};
use super::rtnl::{Dump, RTM_GETLINK, RTM_NEWLINK, link, links_request, native};
use super::wire::Message;
use crate::risks::LinkElsewhere;

const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
/// `sizeof(struct rtgenmsg)`, padded.
const RTGENMSG_LEN: usize = 4;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// Size of `struct ifinfomsg`.
const IFINFOMSG_LEN: usize = 16;
const IFLA_LINK_NETNSID: u16 = 37;

/// The links of the calling thread's namespace, and which of them are on a link of the namespace `ours`, a file
/// like `/proc/self/ns/net`.
///
/// # Errors
///
/// When the kernel refuses.
pub fn links_beside(ours: &File) -> io::Result<Vec<LinkElsewhere>> {
    let mut dump = Dump::open()?;
    let links =
        dump.read(RTM_GETLINK, &links_request(), |message, links: &mut Vec<(LinkElsewhere, u32)>| {
            links.extend(read(message));
        })?;
    if links.iter().all(|(link, _)| link.lower_here.is_none()) {
        return Ok(links.into_iter().map(|(link, _)| link).collect());
    }
    // Only now: the dump gives numbers to the namespaces that it speaks of.
    let ours = number_of(&mut dump, ours)?;
    let here = |(mut link, namespace): (LinkElsewhere, u32)| {
        link.lower_here = link.lower_here.filter(|_| Some(namespace) == ours);
        link
    };
    Ok(links.into_iter().map(here).collect())
}

/// A link, with the number of the link below it and of the namespace which that one is in, if it is another.
fn read(message: Message<'_>) -> Option<(LinkElsewhere, u32)> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let attributes = message.payload.get(IFINFOMSG_LEN..)?;
    let link = link(message)?;
    let namespace = attr::find(attributes, IFLA_LINK_NETNSID).and_then(native);
    let lower_here = link.lower.filter(|_| namespace.is_some());
    Some((LinkElsewhere { name: link.name, kind: link.kind, lower_here }, namespace.unwrap_or_default()))
}

/// The number that the calling thread's namespace has for another; none where it has none.
fn number_of(dump: &mut Dump, namespace: &File) -> io::Result<Option<u32>> {
    let mut attributes = Writer::default();
    attributes.put(NETNSA_FD, &namespace.as_raw_fd().cast_unsigned().to_ne_bytes());
    // One attribute of four bytes.
    let request = [[0; RTGENMSG_LEN].as_slice(), &attributes.finish().unwrap_or_default()].concat();
    let answer = dump.ask(RTM_GETNSID, RTM_NEWNSID, &request)?;
    let id = answer.get(RTGENMSG_LEN..).and_then(|attributes| attr::find(attributes, NETNSA_NSID));
    // NETNSA_NSID_NOT_ASSIGNED is -1.
    Ok(id.and_then(native).filter(|id| *id != u32::MAX))
}
