//! Steps to one batch of netlink messages.

use super::attr::{self, Attrs, Writer};
use super::error::Unencodable;
use super::ffi::{self, Header};
use super::socket::header;
use super::wire::{self, Messages, msg, nfta, udata};
use super::{decode_set, encode_expr, encode_set};
use crate::ruleset::{BaseChain, ElementData, ElementKey, Expr, Family, Op, Policy, Rule, Set, TABLE_NAME};

/// The sequence number of `NFNL_MSG_BATCH_BEGIN`; each message of a batch has the next one.
const BEGIN_SEQ: u32 = 1;

/// One batch, ready to be sent: the kernel carries out all of it or nothing.
///
/// It knows which message came from which step, and finds the element that a byte belongs to, so that an error
/// of the kernel can name them.
#[derive(Debug, Clone)]
pub struct Transaction {
    bytes: Vec<u8>,
    messages: Vec<Sent>,
    unencodable: Option<(usize, Unencodable)>,
}

/// A message of a batch, batch begin and end excluded.
#[derive(Debug, Clone)]
struct Sent {
    op: usize,
    /// Whether its elements are those of a tree.
    is_tree: bool,
}

/// Puts steps into one batch, in their order.
///
/// With a generation, the kernel refuses the batch when the rule set has another one by then. A step that
/// does not fit into a message makes [`super::Nftables::commit`] refuse the whole batch, before anything is sent.
pub fn encode(ops: &[Op], generation: Option<u32>) -> Transaction {
    let room = ops.iter().map(room).sum();
    let mut encoder = Encoder {
        transaction: Transaction { bytes: Vec::with_capacity(room), messages: Vec::new(), unencodable: None },
        op: 0,
        last: 0,
        next_set_id: 1,
    };
    encoder.begin(generation);
    for (index, op) in ops.iter().enumerate() {
        encoder.op = index;
        if let Err(reason) = encoder.op(op) {
            encoder.transaction.unencodable = Some((index, reason));
            return encoder.transaction;
        }
    }
    encoder.end();
    encoder.transaction
}

/// About how many bytes a step takes.
fn room(op: &Op) -> usize {
    /// A rule with its comment.
    const OTHER: usize = 512;
    match op {
        Op::AddElements { set, elements, .. } | Op::DeleteElements { set, elements, .. } => {
            encode_set::room(set, elements)
        }
        _ => OTHER,
    }
}

impl Transaction {
    /// Length of the batch.
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no steps.
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Index of the step that the message with that sequence number came from; `None` for the messages
    /// that begin and end the batch, and for all others.
    pub fn ops_of(&self, seq: u32) -> Option<usize> {
        Some(self.sent(seq)?.op)
    }

    /// The element that holds that byte of the message with that sequence number.
    pub(super) fn element_at(&self, seq: u32, offset: usize) -> Option<ElementKey> {
        let is_tree = self.sent(seq)?.is_tree;
        let message = Messages(&self.bytes).find(|message| message.seq == seq)?;
        let (_, _, attributes) = message.nfgen()?;
        let offset = offset.checked_sub(wire::NLMSG_HDRLEN + wire::NFGENMSG_LEN)?;
        decode_set::element_at(attributes, is_tree, offset)
    }

    /// What is sent, for programs that time the kernel alone.
    #[doc(hidden)]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn unencodable(&self) -> Option<(usize, Unencodable)> {
        self.unencodable
    }

    /// Whether a message of the batch, begin and end included, has that sequence number.
    pub(super) fn contains(&self, seq: u32) -> bool {
        seq.checked_sub(BEGIN_SEQ).is_some_and(|index| index as usize <= self.messages.len() + 1)
    }

    /// The sequence number of the message whose acknowledgement means that the batch was carried out.
    ///
    /// It is the last step's. The end of the batch would be the natural one, but kernels before 6.10 do
    /// not acknowledge it. Acknowledgements are sent after the commit, and after any error.
    pub(super) fn acknowledged_seq(&self) -> u32 {
        BEGIN_SEQ + self.messages.len() as u32
    }

    fn sent(&self, seq: u32) -> Option<&Sent> {
        self.messages.get(seq.checked_sub(BEGIN_SEQ + 1)? as usize)
    }
}

/// Builds a [`Transaction`].
struct Encoder {
    transaction: Transaction,
    /// Index of the step being encoded.
    op: usize,
    /// Where the last message starts.
    last: usize,
    next_set_id: u32,
}

impl Encoder {
    fn begin(&mut self, generation: Option<u32>) {
        let mut attributes = Writer::default();
        if let Some(generation) = generation {
            attributes.put(wire::NFNL_BATCH_GENID, &generation.to_be_bytes());
        }
        self.batch(wire::NFNL_MSG_BATCH_BEGIN, BEGIN_SEQ, &attributes.finish().unwrap_or_default());
    }

    fn end(&mut self) {
        if !self.transaction.messages.is_empty() {
            // The header is in host byte order; see `acknowledged_seq`.
            let flags = &mut self.transaction.bytes[self.last + 6..self.last + 8];
            let acknowledged = u16::from_ne_bytes([flags[0], flags[1]]) | wire::NLM_F_ACK;
            flags.copy_from_slice(&acknowledged.to_ne_bytes());
        }
        let seq = BEGIN_SEQ + 1 + self.transaction.messages.len() as u32;
        self.batch(wire::NFNL_MSG_BATCH_END, seq, &[]);
    }

    /// A message that begins or ends the batch; its `res_id` names the subsystem.
    fn batch(&mut self, kind: u16, seq: u32, attributes: &[u8]) {
        let len = wire::NLMSG_HDRLEN + wire::NFGENMSG_LEN + attributes.len();
        let bytes = &mut self.transaction.bytes;
        bytes.extend_from_slice(&header(kind, wire::NLM_F_REQUEST, seq, len));
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&wire::NFNL_SUBSYS_NFTABLES.to_be_bytes());
        bytes.extend_from_slice(attributes);
    }

    /// The header of the next message.
    fn header(&self, kind: u16, family: Family, flags: u16) -> Header {
        let seq = BEGIN_SEQ + 1 + self.transaction.messages.len() as u32;
        Header { kind, family: family.number(), flags, seq }
    }

    fn push(&mut self, message: &[u8]) {
        self.last = self.transaction.bytes.len();
        self.transaction.bytes.extend_from_slice(message);
        self.transaction.messages.push(Sent { op: self.op, is_tree: false });
    }

    fn op(&mut self, op: &Op) -> Result<(), Unencodable> {
        let message = match op {
            Op::AddTable { family } => {
                ffi::Table::new(TABLE_NAME)?.message(self.header(msg::NEWTABLE, *family, wire::NLM_F_CREATE))
            }
            Op::DeleteTable { family } => {
                ffi::Table::new(TABLE_NAME)?.message(self.header(msg::DELTABLE, *family, 0))
            }
            Op::AddSet { family, set } => {
                let id = self.next_set_id;
                self.next_set_id += 1;
                let flags = wire::NLM_F_CREATE | wire::NLM_F_EXCL;
                encode_set::definition(set, id)?.message(self.header(msg::NEWSET, *family, flags))
            }
            Op::DeleteSet { family, set } => {
                ffi::Set::new(TABLE_NAME, set)?.message(self.header(msg::DELSET, *family, 0))
            }
            Op::AddChain { family, chain, base } => {
                let header = self.header(msg::NEWCHAIN, *family, wire::NLM_F_CREATE);
                chain_object(chain, base.as_ref())?.message(header)
            }
            Op::DeleteChain { family, chain } => {
                // Without NONREC the kernel deletes the rules in it as well.
                let header = self.header(msg::DELCHAIN, *family, wire::NLM_F_NONREC);
                ffi::Chain::new(TABLE_NAME, chain)?.message(header)
            }
            Op::AddElements { family, set, elements } => {
                let flags = wire::NLM_F_CREATE | wire::NLM_F_EXCL;
                let header = self.header(msg::NEWSETELEM, *family, flags);
                return self.elements(header, set, elements, true);
            }
            Op::DeleteElements { family, set, elements } => {
                let header = self.header(msg::DELSETELEM, *family, 0);
                return self.elements(header, set, elements, false);
            }
            Op::AddRule { family, chain, rule, before: None } => {
                let flags = wire::NLM_F_CREATE | wire::NLM_F_APPEND;
                rule_message(self.header(msg::NEWRULE, *family, flags), chain, rule, |_| {})?
            }
            Op::AddRule { family, chain, rule, before: Some(handle) } => {
                // Without APPEND the kernel puts it before the rule at that position.
                let header = self.header(msg::NEWRULE, *family, wire::NLM_F_CREATE);
                rule_message(header, chain, rule, |object| object.position(*handle))?
            }
            Op::ReplaceRule { family, chain, handle, rule } => {
                let header = self.header(msg::NEWRULE, *family, wire::NLM_F_REPLACE);
                rule_message(header, chain, rule, |object| object.handle(*handle))?
            }
            Op::DeleteRule { family, chain, handle } => {
                let mut object = ffi::Rule::new(TABLE_NAME, chain)?;
                object.handle(*handle);
                object.message(self.header(msg::DELRULE, *family, 0))
            }
        };
        self.push(&message);
        Ok(())
    }

    /// Messages with elements; all have that header but for its sequence number.
    fn elements(
        &mut self,
        mut head: Header,
        set: &Set,
        mut elements: &[(ElementKey, ElementData)],
        with_data: bool,
    ) -> Result<(), Unencodable> {
        const TOO_LONG: Unencodable = Unencodable::TooLong { what: "an element", max: encode_set::CHUNK };
        let kind = (wire::NFNL_SUBSYS_NFTABLES << 8) | head.kind;
        while !elements.is_empty() {
            let start = self.transaction.bytes.len();
            let mut message = Writer::behind(std::mem::take(&mut self.transaction.bytes));
            message.raw(&header(kind, wire::NLM_F_REQUEST | head.flags, head.seq, 0));
            message.raw(&[head.family, 0, 0, 0]);
            let taken = encode_set::elements(&mut message, set, elements, with_data)?;
            let mut bytes = message.finish().filter(|_| taken > 0).ok_or(TOO_LONG)?;
            let len = (bytes.len() - start) as u32;
            bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
            self.last = start;
            self.transaction.bytes = bytes;
            self.transaction.messages.push(Sent { op: self.op, is_tree: encode_set::is_tree(set) });
            elements = &elements[taken..];
            head.seq += 1;
        }
        Ok(())
    }
}

fn chain_object(chain: &str, base: Option<&BaseChain>) -> Result<ffi::Chain, Unencodable> {
    let mut object = ffi::Chain::new(TABLE_NAME, chain)?;
    if let Some(base) = base {
        let policy = match base.policy {
            Policy::Drop => 0,
            Policy::Accept => 1,
        };
        object.base(base.kind.as_str(), base.hook.number(), base.priority.0, policy)?;
        if let Some(device) = &base.device {
            object.device(device)?;
        }
    }
    Ok(object)
}

/// A message with a rule; `place` says where it goes.
fn rule_message(
    header: Header,
    chain: &str,
    rule: &Rule,
    place: impl FnOnce(&mut ffi::Rule),
) -> Result<Vec<u8>, Unencodable> {
    let mut object = ffi::Rule::new(TABLE_NAME, chain)?;
    place(&mut object);
    if !rule.comment.is_empty() {
        object.userdata(&comment(&rule.comment)?)?;
    }
    let mut exprs = rule.exprs.clone();
    encode_expr::lengthen_presence(&mut exprs);
    encode_expr::widen_prefix(&mut exprs);
    if exprs.iter().any(|expr| matches!(expr, Expr::Unknown { .. })) {
        return with_unknown(header, &object, &exprs);
    }
    for expr in &exprs {
        object.push(encode_expr::expression(expr)?)?;
    }
    Ok(object.message(header))
}

/// User data of a rule that nft shows as its comment.
fn comment(text: &str) -> Result<Vec<u8>, Unencodable> {
    /// 256 bytes of user data, without type, length and NUL.
    const MAX: usize = 253;
    if text.contains('\0') {
        return Err(Unencodable::Nul);
    }
    let len = u8::try_from(text.len() + 1).ok().filter(|len| usize::from(*len) <= MAX + 1);
    let len = len.ok_or(Unencodable::TooLong { what: "a comment", max: MAX })?;
    let mut userdata = vec![udata::RULE_COMMENT, len];
    userdata.extend_from_slice(text.as_bytes());
    userdata.push(0);
    Ok(userdata)
}

/// A message with a rule of which libnftnl cannot build every expression: those as the bytes they came in.
fn with_unknown(header: Header, object: &ffi::Rule, exprs: &[Expr]) -> Result<Vec<u8>, Unencodable> {
    let mut list = Writer::default();
    for expr in exprs {
        if let Expr::Unknown { name, data } = expr {
            if name.contains('\0') {
                return Err(Unencodable::Nul);
            }
            list.nest(nfta::LIST_ELEM, |element| {
                element.put_str(nfta::EXPR_NAME, name);
                element.nest(nfta::EXPR_DATA, |inner| unknown_data(inner, name, data));
            });
        } else {
            // libnftnl builds whole rules only: one of this expression alone, to take it out of.
            let mut single = ffi::Rule::new(TABLE_NAME, "")?;
            single.push(encode_expr::expression(expr)?)?;
            let message = single.message(header);
            let attributes = message.get(wire::NLMSG_HDRLEN + wire::NFGENMSG_LEN..).unwrap_or_default();
            list.raw(attr::find(attributes, nfta::RULE_EXPRESSIONS).unwrap_or_default());
        }
    }
    let too_long = Unencodable::TooLong { what: "a rule", max: usize::from(u16::MAX) };
    let list = list.finish().ok_or(too_long)?;
    let mut attributes = Writer::default();
    attributes.nest(nfta::RULE_EXPRESSIONS, |nest| nest.raw(&list));
    let attributes = attributes.finish().ok_or(too_long)?;
    let mut message = object.message(header);
    message.extend_from_slice(&attributes);
    let len = message.len() as u32;
    message[..4].copy_from_slice(&len.to_ne_bytes());
    Ok(message)
}

/// The data of an expression as it came, but for what the kernel hands out and does not take back.
fn unknown_data(writer: &mut Writer, name: &str, data: &[u8]) {
    /// `NFTA_EXTHDR_FLAGS` and `NFTA_EXTHDR_SREG`: an `exthdr` that writes shows flags and refuses them.
    const FLAGS: u16 = 5;
    const SREG: u16 = 7;
    if name != "exthdr" || attr::find(data, SREG).is_none() {
        return writer.raw(data);
    }
    for attr in Attrs::new(data).filter(|attr| attr.kind != FLAGS) {
        writer.put(attr.kind, attr.payload);
    }
}
