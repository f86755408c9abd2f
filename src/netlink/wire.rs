//! Numbers and headers of netlink and nf_tables, as the kernel's user API headers give them.
//!
//! Only what this module sends or reads, named as in `<linux/netlink.h>`, `<linux/netfilter/nfnetlink.h>`
//! and `<linux/netfilter/nf_tables.h>`. Netlink headers are in host byte order; what follows them is
//! big endian.

/// `sizeof(struct nlmsghdr)`.
pub(super) const NLMSG_HDRLEN: usize = 16;
/// `sizeof(struct nfgenmsg)`.
pub(super) const NFGENMSG_LEN: usize = 4;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;

pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
/// On an error or an acknowledgement: the message that it answers is not repeated whole.
pub(super) const NLM_F_CAPPED: u16 = 0x100;
/// On an error or an acknowledgement: attributes follow.
pub(super) const NLM_F_ACK_TLVS: u16 = 0x200;
/// `NLM_F_ROOT | NLM_F_MATCH`.
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_REPLACE: u16 = 0x100;
/// On a deletion: refuse when something is left inside.
pub(super) const NLM_F_NONREC: u16 = 0x100;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_APPEND: u16 = 0x800;

pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;
pub(super) const NLMSGERR_ATTR_OFFS: u16 = 2;

pub(super) const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
pub(super) const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10;
pub(super) const NFNL_BATCH_GENID: u16 = 1;

/// `enum nf_tables_msg_types`.
pub(super) mod msg {
    pub(in super::super) const NEWTABLE: u16 = 0;
    pub(in super::super) const GETTABLE: u16 = 1;
    pub(in super::super) const DELTABLE: u16 = 2;
    pub(in super::super) const NEWCHAIN: u16 = 3;
    pub(in super::super) const GETCHAIN: u16 = 4;
    pub(in super::super) const DELCHAIN: u16 = 5;
    pub(in super::super) const NEWRULE: u16 = 6;
    pub(in super::super) const GETRULE: u16 = 7;
    pub(in super::super) const DELRULE: u16 = 8;
    pub(in super::super) const NEWSET: u16 = 9;
    pub(in super::super) const GETSET: u16 = 10;
    pub(in super::super) const DELSET: u16 = 11;
    pub(in super::super) const NEWSETELEM: u16 = 12;
    pub(in super::super) const GETSETELEM: u16 = 13;
    pub(in super::super) const DELSETELEM: u16 = 14;
    pub(in super::super) const NEWGEN: u16 = 15;
    pub(in super::super) const GETGEN: u16 = 16;
    pub(in super::super) const TRACE: u16 = 17;
    pub(in super::super) const NEWOBJ: u16 = 18;
    pub(in super::super) const GETOBJ: u16 = 19;
    pub(in super::super) const DELOBJ: u16 = 20;
    pub(in super::super) const NEWFLOWTABLE: u16 = 22;
    pub(in super::super) const GETFLOWTABLE: u16 = 23;
    pub(in super::super) const DELFLOWTABLE: u16 = 24;
}

/// Attribute numbers: `enum nft_*_attributes`.
pub(super) mod nfta {
    pub(in super::super) const GEN_ID: u16 = 1;
    pub(in super::super) const GEN_PROC_PID: u16 = 2;
    pub(in super::super) const GEN_PROC_NAME: u16 = 3;
    /// Of the table that a message is about, whatever its type.
    pub(in super::super) const ANY_TABLE: u16 = 1;
    pub(in super::super) const LIST_ELEM: u16 = 1;

    pub(in super::super) const TABLE_NAME: u16 = 1;
    pub(in super::super) const TABLE_FLAGS: u16 = 2;

    pub(in super::super) const CHAIN_TABLE: u16 = 1;
    pub(in super::super) const CHAIN_NAME: u16 = 3;
    pub(in super::super) const CHAIN_HOOK: u16 = 4;
    pub(in super::super) const CHAIN_POLICY: u16 = 5;
    pub(in super::super) const CHAIN_TYPE: u16 = 7;
    pub(in super::super) const CHAIN_FLAGS: u16 = 10;

    pub(in super::super) const HOOK_HOOKNUM: u16 = 1;
    pub(in super::super) const HOOK_PRIORITY: u16 = 2;
    pub(in super::super) const HOOK_DEV: u16 = 3;
    pub(in super::super) const HOOK_DEVS: u16 = 4;

    pub(in super::super) const RULE_TABLE: u16 = 1;
    pub(in super::super) const RULE_CHAIN: u16 = 2;
    pub(in super::super) const RULE_HANDLE: u16 = 3;
    pub(in super::super) const RULE_EXPRESSIONS: u16 = 4;
    pub(in super::super) const RULE_USERDATA: u16 = 7;

    pub(in super::super) const SET_TABLE: u16 = 1;
    pub(in super::super) const SET_NAME: u16 = 2;
    pub(in super::super) const SET_FLAGS: u16 = 3;
    pub(in super::super) const SET_KEY_TYPE: u16 = 4;
    pub(in super::super) const SET_KEY_LEN: u16 = 5;
    pub(in super::super) const SET_DATA_TYPE: u16 = 6;
    pub(in super::super) const SET_DATA_LEN: u16 = 7;
    pub(in super::super) const SET_DESC: u16 = 9;
    pub(in super::super) const SET_TIMEOUT: u16 = 11;
    pub(in super::super) const SET_EXPR: u16 = 17;
    pub(in super::super) const SET_EXPRESSIONS: u16 = 18;
    /// Since Linux 6.17.
    pub(in super::super) const SET_COUNT: u16 = 20;
    pub(in super::super) const SET_DESC_SIZE: u16 = 1;

    pub(in super::super) const ELEM_LIST_TABLE: u16 = 1;
    pub(in super::super) const ELEM_LIST_SET: u16 = 2;
    pub(in super::super) const ELEM_LIST_ELEMENTS: u16 = 3;

    pub(in super::super) const ELEM_KEY: u16 = 1;
    pub(in super::super) const ELEM_DATA: u16 = 2;
    pub(in super::super) const ELEM_FLAGS: u16 = 3;
    pub(in super::super) const ELEM_TIMEOUT: u16 = 4;
    pub(in super::super) const ELEM_EXPR: u16 = 7;
    pub(in super::super) const ELEM_OBJREF: u16 = 9;
    pub(in super::super) const ELEM_KEY_END: u16 = 10;
    pub(in super::super) const ELEM_EXPRESSIONS: u16 = 11;

    pub(in super::super) const DATA_VALUE: u16 = 1;
    pub(in super::super) const DATA_VERDICT: u16 = 2;
    pub(in super::super) const VERDICT_CODE: u16 = 1;
    pub(in super::super) const VERDICT_CHAIN: u16 = 2;

    pub(in super::super) const EXPR_NAME: u16 = 1;
    pub(in super::super) const EXPR_DATA: u16 = 2;

    pub(in super::super) const TRACE_TABLE: u16 = 1;
    pub(in super::super) const TRACE_CHAIN: u16 = 2;
    pub(in super::super) const TRACE_RULE_HANDLE: u16 = 3;
    pub(in super::super) const TRACE_TYPE: u16 = 4;
    pub(in super::super) const TRACE_VERDICT: u16 = 5;
    pub(in super::super) const TRACE_ID: u16 = 6;
    pub(in super::super) const TRACE_NETWORK_HEADER: u16 = 8;
    pub(in super::super) const TRACE_TRANSPORT_HEADER: u16 = 9;
    pub(in super::super) const TRACE_IIF: u16 = 10;
    pub(in super::super) const TRACE_OIF: u16 = 12;
    pub(in super::super) const TRACE_POLICY: u16 = 16;

    pub(in super::super) const OBJ_TABLE: u16 = 1;
    pub(in super::super) const OBJ_NAME: u16 = 2;
    pub(in super::super) const OBJ_TYPE: u16 = 3;
}

/// `enum nft_set_flags`.
pub(super) mod set_flag {
    pub(in super::super) const INTERVAL: u32 = 0x4;
    pub(in super::super) const MAP: u32 = 0x8;
    pub(in super::super) const TIMEOUT: u32 = 0x10;
    pub(in super::super) const EVAL: u32 = 0x20;
    pub(in super::super) const CONCAT: u32 = 0x80;
}

/// `NFT_SET_ELEM_INTERVAL_END`: the key is the first that is *not* in the interval any more.
pub(super) const ELEM_INTERVAL_END: u32 = 1;
/// `NFT_DATA_VERDICT`, the data type of a verdict map.
pub(super) const DATA_TYPE_VERDICT: u32 = 0xffff_ff00;
/// nft's `TYPE_BITS`: bits of a field type within the type of a concatenation.
pub(super) const TYPE_BITS: u32 = 6;
/// `NFT_REG_VERDICT`.
pub(super) const REG_VERDICT: u32 = 0;
/// `NFT_REG32_00`.
pub(super) const REG32_00: u32 = 8;
/// `NFTA_FIB_F_PRESENT`.
pub(super) const FIB_PRESENT: u32 = 0x20;
/// `NFT_EXTHDR_F_PRESENT`.
pub(super) const EXTHDR_PRESENT: u32 = 1;
/// `NFT_LOOKUP_F_INV`.
pub(super) const LOOKUP_INV: u32 = 1;

/// `enum nft_verdicts`; jump and goto carry a chain besides.
pub(super) mod verdict {
    pub(in super::super) const DROP: i32 = 0;
    pub(in super::super) const ACCEPT: i32 = 1;
    pub(in super::super) const CONTINUE: i32 = -1;
    pub(in super::super) const JUMP: i32 = -3;
    pub(in super::super) const GOTO: i32 = -4;
    pub(in super::super) const RETURN: i32 = -5;
}

/// User data that nft understands: type, length, payload, a byte each for the first two.
pub(super) mod udata {
    /// Of a rule: text that ends in NUL.
    pub(in super::super) const RULE_COMMENT: u8 = 0;
    /// Of a set: 32 bits in host order, see `BYTEORDER_*`.
    pub(in super::super) const SET_KEYBYTEORDER: u8 = 0;
    /// Of a map: the same for its data.
    pub(in super::super) const SET_DATABYTEORDER: u8 = 1;
    /// Of a concatenation, whose fields have byte orders of their own.
    pub(in super::super) const BYTEORDER_INVALID: u32 = 0;
    pub(in super::super) const BYTEORDER_HOST_ENDIAN: u32 = 1;
    pub(in super::super) const BYTEORDER_BIG_ENDIAN: u32 = 2;
}

/// Reads a big-endian number of 32 bits; `None` when it has another length.
pub(super) fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads a big-endian number of 64 bits; `None` when it has another length.
pub(super) fn be64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// One netlink message as received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    /// The port of the socket that it answers, or whose request it tells of.
    pub(super) port: u32,
    /// What follows the netlink header.
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message type within nf_tables; `None` for a message of another kind.
    pub(super) fn nft_type(&self) -> Option<u16> {
        (self.kind >> 8 == NFNL_SUBSYS_NFTABLES).then_some(self.kind & 0xff)
    }

    /// Family, low 16 bits of the generation, and attributes of an nf_tables message.
    pub(super) fn nfgen(&self) -> Option<(u8, u16, &'a [u8])> {
        let (header, attributes) = self.payload.split_at_checked(NFGENMSG_LEN)?;
        Some((header[0], u16::from_be_bytes([header[2], header[3]]), attributes))
    }
}

/// The messages of one datagram; ends at the first that is cut short.
///
/// Unlike `mnl::NlMessages` it does not panic when the last message's length is no multiple of 4.
#[derive(Debug, Clone)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.get(..NLMSG_HDRLEN)?;
        let len = u32::from_ne_bytes(header[..4].try_into().ok()?) as usize;
        let payload = self.0.get(NLMSG_HDRLEN..len)?;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            seq: u32::from_ne_bytes(header[8..12].try_into().ok()?),
            port: u32::from_ne_bytes(header[12..16].try_into().ok()?),
            payload,
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}
