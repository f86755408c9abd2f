//! What can go wrong between isoplan and nf_tables.

use std::error;
use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::ruleset::ElementKey;

/// Reading failed, or the socket could not be made.
#[derive(Debug)]
pub enum Error {
    /// No netlink socket to nf_tables, for example in a kernel without it.
    Open(io::Error),
    /// nf_tables wants `CAP_NET_ADMIN` in the user namespace that owns the network namespace, for reading too.
    NotPermitted,
    /// A request could not be sent.
    Send(io::Error),
    /// An answer could not be received.
    Receive(io::Error),
    /// The kernel answered with an error.
    Refused {
        /// What was asked for.
        request: &'static str,
        /// The kernel's error number, positive.
        errno: i32,
        /// The kernel's own words, where it has any.
        message: Option<String>,
    },
    /// The kernel's answer is not what its headers promise.
    Malformed {
        /// What was asked for.
        request: &'static str,
    },
    /// Others changed the rule set during every attempt to read it.
    KeepsChanging {
        /// How many attempts there were.
        tries: u32,
    },
    /// A set says that it has more elements than it hands out, however often it is read.
    Incomplete {
        /// Its name.
        set: String,
        /// How many elements came.
        found: usize,
        /// How many it says that it has.
        count: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str("failed to open a netlink socket to nf_tables"),
            Self::NotPermitted => f.write_str("not permitted to read the rule set"),
            Self::Send(_) => f.write_str("failed to send a request to nf_tables"),
            Self::Receive(_) => f.write_str("failed to receive an answer from nf_tables"),
            Self::Refused { request, errno, message } => {
                write!(
                    f,
                    "failed to read {request}: {}",
                    Reason { errno: *errno, message: message.as_deref() }
                )
            }
            Self::Malformed { request } => {
                write!(f, "nf_tables gave an answer that makes no sense to {request}")
            }
            Self::KeepsChanging { tries } => {
                write!(
                    f,
                    "the rule set keeps changing: it was changed during each of {tries} attempts to read it"
                )
            }
            Self::Incomplete { set, found, count } => {
                write!(f, "set `{set}` hands out {found} of the {count} elements that it says it has")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(source) | Self::Send(source) | Self::Receive(source) => Some(source),
            _ => None,
        }
    }
}

/// A transaction was not carried out. Nothing was changed, except where [`CommitError::Unknown`] leaves that open.
#[derive(Debug)]
pub enum CommitError {
    /// nf_tables wants `CAP_NET_ADMIN` in the user namespace that owns the network namespace.
    NotPermitted,
    /// Somebody changed the rule set since the generation that the transaction was made for.
    Moved,
    /// The transaction does not fit into the send buffer, which only `CAP_NET_ADMIN` of the initial user
    /// namespace or a larger `net.core.wmem_max` can raise.
    TooLarge {
        /// Length of the transaction.
        bytes: usize,
        /// The longest that could be sent.
        limit: usize,
    },
    /// A step cannot be put into a netlink message.
    Unencodable {
        /// Index of the step in the list that was encoded.
        op: usize,
        /// Why.
        reason: Unencodable,
    },
    /// The kernel refused a step, and with it the whole transaction.
    Refused {
        /// Index of the step in the list that was encoded.
        op: usize,
        /// The element at fault, where the kernel names one.
        element: Option<Box<ElementKey>>,
        /// The kernel's error number, positive.
        errno: i32,
        /// The kernel's own words, where it has any.
        message: Option<String>,
    },
    /// The kernel refused the transaction without naming a step.
    RefusedWhole {
        /// The kernel's error number, positive.
        errno: i32,
        /// The kernel's own words, where it has any.
        message: Option<String>,
    },
    /// The transaction could not be sent.
    Send(io::Error),
    /// The transaction was sent and its answer lost: whether it was carried out only reading back can tell.
    Unknown {
        /// What became of the answer; without it, none came.
        source: Option<io::Error>,
    },
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted => f.write_str("not permitted to change the rule set"),
            Self::Moved => f.write_str("the rule set was changed by somebody else in the meantime"),
            Self::TooLarge { bytes, limit } => write!(
                f,
                "the transaction takes {bytes} bytes and the send buffer holds {limit} (see `net.core.wmem_max`)"
            ),
            Self::Unencodable { op, reason } => write!(f, "step {op} cannot be put into a message: {reason}"),
            Self::Refused { op, errno, message, .. } => {
                write!(
                    f,
                    "the kernel refused step {op}: {}",
                    Reason { errno: *errno, message: message.as_deref() }
                )
            }
            Self::RefusedWhole { errno, message } => {
                write!(
                    f,
                    "the kernel refused the transaction: {}",
                    Reason { errno: *errno, message: message.as_deref() }
                )
            }
            Self::Send(_) => f.write_str("failed to send the transaction"),
            Self::Unknown { .. } => f.write_str(
                "the kernel's answer was lost, so that only reading back can tell what was applied",
            ),
        }
    }
}

impl error::Error for CommitError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Send(source) | Self::Unknown { source: Some(source) } => Some(source),
            _ => None,
        }
    }
}

/// Why a step cannot be put into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unencodable {
    /// A name or a text holds a NUL byte.
    Nul,
    /// Something is longer than the kernel or the message format takes.
    TooLong {
        /// What.
        what: &'static str,
        /// The most that is possible, in bytes.
        max: usize,
    },
    /// A set of a type that isoplan has no name for.
    ForeignType,
    /// libnftnl could not allocate.
    OutOfMemory,
}

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul => f.write_str("a text holds a NUL byte"),
            Self::TooLong { what, max } => write!(f, "{what} is longer than {max} bytes"),
            Self::ForeignType => f.write_str("the set has a type that isoplan does not know"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

/// The kernel's words if it has any, and what the error number means.
struct Reason<'a> {
    errno: i32,
    message: Option<&'a str>,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = self.message {
            write!(f, "{message}: ")?;
        }
        write!(f, "{} (os error {})", Errno::from_raw(self.errno).desc(), self.errno)
    }
}
