//! The only unsafe code: libnftnl objects with owners, and two socket options that no crate wraps.
//!
//! What libnftnl 1.2.4 does, and every SAFETY comment below relies on:
//! - an object comes from `nftnl_*_alloc` and goes with its `nftnl_*_free`, once;
//! - a setter copies what it is given: strings with `strdup`, user data into memory of its own, numbers
//!   and register values with `memcpy`. Numbers are copied with the size of the *field*, so a setter of
//!   another width than the attribute has reads beyond its argument. Register values are copied with the
//!   length they are given into 64 bytes, unchecked;
//! - `nftnl_rule_add_expr` takes the object over;
//! - `*_nlmsg_build_payload` appends behind `nlmsg_len` and does not know where the buffer ends. Every
//!   wrapper therefore keeps an upper bound of what it will append, and [`build`] makes room for it.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;
use nix::libc;
use nix::sys::socket::{LinkAddr, SockaddrLike as _};

use super::error::Unencodable;
use super::wire::NLMSG_HDRLEN;

/// `NFT_DATA_VALUE_MAXLEN`, the size of libnftnl's buffers for register values.
const VALUE_MAX: usize = 64;
/// `NFT_USERDATA_MAXLEN`.
const USERDATA_MAX: usize = 256;
/// The longest name: `NFT_NAME_MAXLEN` with its NUL.
const NAME_MAX: usize = 256;
/// The most that one attribute with a number needs, its header and that of a nest around it included.
const NUMBER_BOUND: usize = 16;
/// The longest message without elements: what one nest can say (65,535), less than that for expressions.
const MESSAGE_MAX: usize = 65_000;

/// The header of an nf_tables message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// `NFT_MSG_*`.
    pub(super) kind: u16,
    /// `NFPROTO_*`.
    pub(super) family: u8,
    /// `NLM_F_*` besides `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// Sequence number.
    pub(super) seq: u32,
}

/// Builds one message whose payload takes at most `bound` bytes.
///
/// # Safety
///
/// `payload` must append at most `bound` bytes to the message that it is given, and not keep the pointer.
unsafe fn build(header: Header, bound: usize, payload: impl FnOnce(*mut libc::nlmsghdr)) -> Vec<u8> {
    // 64-bit words, so that the header in front is aligned; headers and slack for padding on top.
    let mut words = vec![0_u64; (NLMSG_HDRLEN + 16 + bound) / 8 + 2];
    // SAFETY: the buffer is aligned to 8 and holds more than the 20 bytes of the two headers.
    let message = unsafe {
        sys::nftnl_nlmsg_build_hdr(
            words.as_mut_ptr().cast::<c_char>(),
            header.kind,
            u16::from(header.family),
            header.flags,
            header.seq,
        )
    };
    payload(message.cast());
    let bytes = as_bytes(&words);
    let len = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let mut bytes = bytes[..len].to_vec();
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: the same memory, initialised, at a lower alignment, for as long as the borrow.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), mem::size_of_val(words)) }
}

/// A buffer to receive into, aligned for `struct nlmsghdr`.
pub(super) fn as_bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: the same memory, initialised, at a lower alignment, for as long as the exclusive borrow; any
    // bytes make a valid `u64`.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), mem::size_of_val(words)) }
}

/// Checks what is to be a name.
pub(super) fn checked_name(text: &str) -> Result<&str, Unencodable> {
    if text.len() >= NAME_MAX {
        return Err(Unencodable::TooLong { what: "a name", max: NAME_MAX - 1 });
    }
    if text.contains('\0') { Err(Unencodable::Nul) } else { Ok(text) }
}

/// A name as C has it.
fn name(text: &str) -> Result<CString, Unencodable> {
    CString::new(checked_name(text)?).map_err(|_| Unencodable::Nul)
}

/// Checks the length of what goes into a register.
pub(super) fn checked_value(bytes: &[u8]) -> Result<&[u8], Unencodable> {
    if bytes.len() > VALUE_MAX {
        return Err(Unencodable::TooLong { what: "a value", max: VALUE_MAX });
    }
    Ok(bytes)
}

/// The length of what goes into a register.
fn value(bytes: &[u8]) -> Result<u32, Unencodable> {
    Ok(checked_value(bytes)?.len() as u32)
}

/// Checks the length of user data.
fn userdata(bytes: &[u8]) -> Result<u32, Unencodable> {
    if bytes.len() > USERDATA_MAX {
        return Err(Unencodable::TooLong { what: "user data", max: USERDATA_MAX });
    }
    Ok(bytes.len() as u32)
}

/// What a setter that copies hands back.
fn copied(status: c_int) -> Result<(), Unencodable> {
    if status < 0 { Err(Unencodable::OutOfMemory) } else { Ok(()) }
}

/// An owned libnftnl object with an upper bound of the bytes that it takes in a message.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident($raw:ident, $alloc:ident, $free:ident)) => {
        $(#[$doc])*
        pub(in crate::netlink) struct $name {
            raw: NonNull<sys::$raw>,
            bound: usize,
        }

        impl $name {
            fn alloc() -> Result<Self, Unencodable> {
                // SAFETY: takes nothing; hands back an object of our own or null.
                let raw = NonNull::new(unsafe { sys::$alloc() }).ok_or(Unencodable::OutOfMemory)?;
                Ok(Self { raw, bound: 0 })
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: ours, live, and never used again.
                unsafe { sys::$free(self.raw.as_ptr()) }
            }
        }
    };
}

mod rule;
mod set;

pub(super) use rule::{Expr, Rule};
pub(super) use set::Set;

object!(
    /// A table.
    Table(nftnl_table, nftnl_table_alloc, nftnl_table_free)
);

impl Table {
    pub(super) fn new(table: &str) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        let table = name(table)?;
        // SAFETY: a string attribute; the string ends in NUL and is copied.
        copied(unsafe {
            sys::nftnl_table_set_str(object.raw.as_ptr(), sys::NFTNL_TABLE_NAME as u16, table.as_ptr())
        })?;
        object.bound += NUMBER_BOUND + NAME_MAX;
        Ok(object)
    }

    pub(super) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_table_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }
}

object!(
    /// A chain, without rules.
    Chain(nftnl_chain, nftnl_chain_alloc, nftnl_chain_free)
);

impl Chain {
    pub(super) fn new(table: &str, chain: &str) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        object.set_name(sys::NFTNL_CHAIN_TABLE, table)?;
        object.set_name(sys::NFTNL_CHAIN_NAME, chain)?;
        Ok(object)
    }

    /// Makes it a base chain.
    pub(super) fn base(
        &mut self,
        kind: &str,
        hook: u32,
        priority: i32,
        policy: u32,
    ) -> Result<(), Unencodable> {
        self.set_name(sys::NFTNL_CHAIN_TYPE, kind)?;
        // SAFETY: three attributes of 32 bits of a live chain; the priority is the signed one.
        unsafe {
            sys::nftnl_chain_set_u32(self.raw.as_ptr(), sys::NFTNL_CHAIN_HOOKNUM as u16, hook);
            sys::nftnl_chain_set_s32(self.raw.as_ptr(), sys::NFTNL_CHAIN_PRIO as u16, priority);
            sys::nftnl_chain_set_u32(self.raw.as_ptr(), sys::NFTNL_CHAIN_POLICY as u16, policy);
        }
        self.bound += 3 * NUMBER_BOUND;
        Ok(())
    }

    /// Binds a base chain of the family netdev to a device.
    pub(super) fn device(&mut self, device: &str) -> Result<(), Unencodable> {
        self.set_name(sys::NFTNL_CHAIN_DEV, device)
    }

    pub(super) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_chain_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    /// `attr` is one of `NFTNL_CHAIN_{TABLE,NAME,TYPE,DEV}`.
    fn set_name(&mut self, attr: u32, text: &str) -> Result<(), Unencodable> {
        let text = name(text)?;
        // SAFETY: all four are string attributes; the string ends in NUL and is copied.
        copied(unsafe { sys::nftnl_chain_set_str(self.raw.as_ptr(), attr as u16, text.as_ptr()) })?;
        self.bound += NUMBER_BOUND + NAME_MAX;
        Ok(())
    }
}

/// The descriptor of a socket, for as long as that is borrowed.
pub(super) fn descriptor(socket: &mnl::Socket) -> BorrowedFd<'_> {
    // SAFETY: the socket is open while it is borrowed, and closes its descriptor only when dropped.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Switches on an option of the level `SOL_NETLINK`.
pub(super) fn enable_netlink_option(socket: BorrowedFd<'_>, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: an open descriptor; the kernel reads the `c_int` whose address and size it is given.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast::<c_void>(),
            mem::size_of::<c_int>() as libc::socklen_t,
        )
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The address of a link for a packet socket to send to (packet(7)): its index, and nothing else.
pub fn link_address(index: u32) -> LinkAddr {
    let mut address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: a whole `sockaddr_ll` of that length, which is copied.
    let address = unsafe { LinkAddr::from_raw((&raw mut address).cast::<libc::sockaddr>(), Some(length)) };
    address.expect("the family and the length are right")
}

/// The cookie of the calling thread's network namespace: unique until the next boot, even when the
/// namespace is gone. Since Linux 5.14.
pub fn netns_cookie() -> io::Result<u64> {
    /// `<asm-generic/socket.h>`.
    const SO_NETNS_COOKIE: c_int = 71;
    let socket = UnixDatagram::unbound()?;
    let descriptor: RawFd = socket.as_fd().as_raw_fd();
    let mut cookie = 0_u64;
    let mut len = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: an open descriptor; the kernel writes at most `len` bytes into the `u64`, and `len`.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast::<c_void>(),
            &raw mut len,
        )
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
