//! Filters of tc(8) that redirect, copy or run programs: dumps of queueing disciplines and filters.
//!
//! Numbers as in `<linux/rtnetlink.h>`, `<linux/pkt_sched.h>`, `<linux/pkt_cls.h>`, `<linux/tc_act/tc_mirred.h>`.
//! Host byte order throughout.

use std::io;

use nix::libc;

use super::attr::{self, Attrs};
use super::rtnl::{Dump, native};
use super::wire::Message;

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// `sizeof(struct tcmsg)`: family, padding, index of the link, handle, parent, info.
const TCMSG_LEN: usize = 20;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and the same for egress.
const PARENT_INGRESS: u32 = 0xffff_fff2;
const PARENT_EGRESS: u32 = 0xffff_fff3;

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// `TCA_EGRESS_REDIR` and `TCA_INGRESS_REDIR`; the other two are the mirrors.
const REDIRECTS: [u32; 2] = [1, 3];
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// `TCA_ACT_BPF_NAME` and `TCA_ACT_BPF_ID`.
const TCA_ACT_BPF_NAME: u16 = 6;
const TCA_ACT_BPF_ID: u16 = 10;

/// Which attribute of a classifier's options holds its actions: `TCA_*_ACT`.
const ACTIONS: [(&str, u16); 9] = [
    ("u32", 7),
    ("matchall", 2),
    ("flower", 3),
    ("bpf", 1),
    ("basic", 3),
    ("fw", 4),
    ("flow", 9),
    ("route", 6),
    ("cgroup", 1),
];

/// Queueing disciplines that no filter can be attached to, or that none is by default.
const PLAIN: [&str; 8] = ["noqueue", "mq", "pfifo_fast", "pfifo", "bfifo", "noop", "fq", "fq_codel"];

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcFilter {
    /// The number of the link that it is on.
    pub link: u32,
    /// `ingress`, `egress`, or the handle of a queueing discipline, as tc shows it.
    pub at: String,
    /// `u32`, `bpf`, ...
    pub kind: String,
    /// What it does.
    pub does: TcAction,
}

/// What a filter does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcAction {
    /// Sends the packet to another link, by number; 0 for a block of links.
    Redirect(u32),
    /// Sends a copy to another link.
    Mirror(u32),
    /// Runs an eBPF program: its name, or else its number.
    Program(String),
}

/// Every filter that redirects, copies or runs an eBPF program, of every link of the calling thread's network
/// namespace. Needs no privilege. Programs that are attached by a link of their own (tcx, since Linux 6.6) are no
/// filters and not among them.
///
/// # Errors
///
/// When the kernel refuses. A kernel without tc has none.
pub fn filters() -> io::Result<Vec<TcFilter>> {
    let mut dump = Dump::open()?;
    let disciplines = dump.read(RTM_GETQDISC, &[0; TCMSG_LEN], |message, all: &mut Vec<Discipline>| {
        all.extend(discipline(message));
    });
    let mut found = Vec::new();
    for discipline in or_none(disciplines)? {
        for (parent, at) in discipline.parents() {
            let request = request(discipline.link, parent);
            let filters = dump.read(RTM_GETTFILTER, &request, |message, all: &mut Vec<TcFilter>| {
                all.extend(filter(message, discipline.link, &at));
            });
            found.extend(or_none(filters)?);
        }
    }
    Ok(found)
}

/// A kernel built without tc, and a link that went away meanwhile, have no filters.
fn or_none<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error)
            if [libc::EOPNOTSUPP, libc::ENODEV, libc::ENOENT, libc::EINVAL]
                .contains(&error.raw_os_error().unwrap_or_default()) =>
        {
            Ok(T::default())
        }
        other => other,
    }
}

struct Discipline {
    link: u32,
    handle: u32,
    kind: String,
}

impl Discipline {
    /// Where filters of it are asked for, and what that is called.
    fn parents(&self) -> Vec<(u32, String)> {
        match self.kind.as_str() {
            "clsact" => vec![(PARENT_INGRESS, "ingress".to_owned()), (PARENT_EGRESS, "egress".to_owned())],
            "ingress" => vec![(PARENT_INGRESS, "ingress".to_owned())],
            plain if PLAIN.contains(&plain) && self.handle == 0 => Vec::new(),
            _ => vec![(self.handle, format!("{:x}:", self.handle >> 16))],
        }
    }
}

fn request(link: u32, parent: u32) -> [u8; TCMSG_LEN] {
    let mut bytes = [0; TCMSG_LEN];
    bytes[4..8].copy_from_slice(&link.to_ne_bytes());
    bytes[12..16].copy_from_slice(&parent.to_ne_bytes());
    bytes
}

fn discipline(message: Message<'_>) -> Option<Discipline> {
    if message.kind != RTM_NEWQDISC {
        return None;
    }
    let (fixed, attributes) = message.payload.split_first_chunk::<TCMSG_LEN>()?;
    let kind = attr::text(attr::find(attributes, TCA_KIND)?);
    Some(Discipline { link: native(&fixed[4..8])?, handle: native(&fixed[8..12])?, kind })
}

/// What a filter does, one for each action; nothing for one that only sorts packets.
fn filter(message: Message<'_>, link: u32, at: &str) -> Vec<TcFilter> {
    if message.kind != RTM_NEWTFILTER {
        return Vec::new();
    }
    let Some((_, attributes)) = message.payload.split_first_chunk::<TCMSG_LEN>() else { return Vec::new() };
    let Some(kind) = attr::find(attributes, TCA_KIND).map(attr::text) else { return Vec::new() };
    let options = attr::find(attributes, TCA_OPTIONS).unwrap_or_default();
    let mut does = Vec::new();
    if kind == "bpf" {
        does.extend(program(options, TCA_BPF_NAME, TCA_BPF_ID));
    }
    // Of a classifier that is not known, every attribute that looks like a list of actions is one.
    let known = ACTIONS.iter().find(|(name, _)| *name == kind).map(|(_, number)| *number);
    for list in Attrs::new(options).filter(|attr| known.is_none_or(|number| attr.kind == number)) {
        does.extend(Attrs::new(list.payload).filter_map(|action| act(action.payload)));
    }
    does.into_iter().map(|does| TcFilter { link, at: at.to_owned(), kind: kind.clone(), does }).collect()
}

/// One action of a filter.
fn act(action: &[u8]) -> Option<TcAction> {
    let kind = attr::text(attr::find(action, TCA_ACT_KIND)?);
    let options = attr::find(action, TCA_ACT_OPTIONS)?;
    match kind.as_str() {
        "mirred" => {
            // struct tc_mirred: five numbers that every action has, what to do, and the link.
            let parameters = attr::find(options, TCA_MIRRED_PARMS)?;
            let (does, link) = (native(parameters.get(20..24)?)?, native(parameters.get(24..28)?)?);
            Some(if REDIRECTS.contains(&does) { TcAction::Redirect(link) } else { TcAction::Mirror(link) })
        }
        "bpf" => program(options, TCA_ACT_BPF_NAME, TCA_ACT_BPF_ID),
        _ => None,
    }
}

/// An eBPF program; a classic one has neither name nor number, and cannot redirect.
fn program(options: &[u8], name: u16, id: u16) -> Option<TcAction> {
    let id = attr::find(options, id).and_then(native);
    let name = attr::find(options, name).map(attr::text);
    Some(TcAction::Program(match (name, id) {
        (Some(name), _) if !name.is_empty() => name,
        (_, Some(id)) => format!("number {id}"),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::attr::Writer;
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, payload: &[u8]) -> Message<'_> {
        Message { kind, flags: 0, seq: 0, port: 0, payload }
    }

    fn written(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        fill(&mut writer);
        let attributes = writer.finish().expect("it is short");
        [[0; TCMSG_LEN].as_slice(), &attributes].concat()
    }

    /// What tc(8) would show as `flower ... action mirred egress redirect`, and `bpf direct-action`: kernels that
    /// have them send these; the one that the tests run on has neither.
    #[test]
    fn redirects_and_programs_of_other_kernels_are_read() {
        let parameters: Vec<u8> =
            [0_u32, 0, 4, 1, 1, 1, 7].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let flower = written(|writer| {
            writer.put_str(TCA_KIND, "flower");
            writer.nest(TCA_OPTIONS, |options| {
                options.nest(3, |list| {
                    list.nest(1, |action| {
                        action.put_str(TCA_ACT_KIND, "mirred");
                        action.nest(TCA_ACT_OPTIONS, |options| options.put(TCA_MIRRED_PARMS, &parameters));
                    });
                });
            });
        });
        let found = filter(message(RTM_NEWTFILTER, &flower), 3, "ingress");
        assert_eq!(found.iter().map(|filter| &filter.does).collect::<Vec<_>>(), [&TcAction::Redirect(7)]);
        let bpf = written(|writer| {
            writer.put_str(TCA_KIND, "bpf");
            writer.nest(TCA_OPTIONS, |options| {
                options.put_str(TCA_BPF_NAME, "lb.o:[tc]");
                options.put(TCA_BPF_ID, &12_u32.to_ne_bytes());
            });
        });
        let found = filter(message(RTM_NEWTFILTER, &bpf), 3, "egress");
        assert_eq!(found[0].does, TcAction::Program("lb.o:[tc]".to_owned()));
        for length in 0..flower.len() {
            let _ = filter(message(RTM_NEWTFILTER, &flower[..length]), 3, "ingress");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = discipline(message(RTM_NEWQDISC, &bytes));
            let _ = filter(message(RTM_NEWTFILTER, &bytes), 1, "ingress");
        }
    }
}
