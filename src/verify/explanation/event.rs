//! What nf_tables tells of a traced packet, as values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruleset::Family;

/// One trace message: a packet met a rule that matched, or came to the end of a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// The kernel's number for the packet; the same in all hooks, as long as it stays on its link.
    pub id: u32,
    /// Of the table.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// What happened there.
    pub kind: TraceKind,
    /// With which result.
    pub verdict: TraceVerdict,
    /// The index of the link that it came in on, where the hook knows one.
    pub iif: Option<u32>,
    /// The index of the link that it leaves by, where the hook knows one.
    pub oif: Option<u32>,
    /// Its headers; only in the first message of each base chain.
    pub header: Option<Header>,
}

/// `enum nft_trace_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    /// A rule with this handle matched.
    Rule(u64),
    /// None of the rules of a chain that are left matched.
    End,
    /// The end of a regular chain.
    Return,
    /// The end of a base chain: its policy counts.
    Policy,
}

/// What a rule or a policy decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceVerdict {
    /// This base chain has no objection.
    Accept,
    /// The packet is gone.
    Drop,
    /// The next rule.
    Continue,
    /// The calling chain.
    Return,
    /// That chain, and back.
    Jump(String),
    /// That chain, and not back.
    Goto(String),
    /// Something else, by the kernel's number: stolen (2), queued (3), repeated (4), or unknown.
    Other(i32),
}

impl std::fmt::Display for TraceVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            // The low bits are netfilter's verdict, the high ones the number of a queue.
            Self::Other(code) => match code & 0xff {
                2 => f.write_str("stolen"),
                3 => f.write_str("queue"),
                4 => f.write_str("repeat"),
                _ => write!(f, "verdict {code}"),
            },
        }
    }
}

/// The addresses of a packet, as one place saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number; of IPv6 that of the first extension header, where there is one.
    pub protocol: u8,
    /// Source port of TCP, UDP or SCTP; host order. Not in a later fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Destination port, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// Type and code of ICMP or ICMPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<(u8, u8)>,
}

/// Protocol numbers (IANA).
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Header {
    /// Reads what the kernel copies: at most 40 bytes of the network header and 20 of the transport header.
    /// None for what is neither IPv4 nor IPv6, or is cut short.
    pub fn read(network: &[u8], transport: &[u8]) -> Option<Self> {
        let (source, destination, protocol, is_first) = match network.first()? >> 4 {
            4 => {
                let address = |at: usize| {
                    let bytes: [u8; 4] = network.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::from(Ipv4Addr::from(bytes)))
                };
                let offset = u16::from_be_bytes([*network.get(6)?, *network.get(7)?]) & 0x1fff;
                (address(12)?, address(16)?, *network.get(9)?, offset == 0)
            }
            6 => {
                let address = |at: usize| {
                    let bytes: [u8; 16] = network.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::from(Ipv6Addr::from(bytes)))
                };
                (address(8)?, address(24)?, *network.get(6)?, true)
            }
            _ => return None,
        };
        let port = |at: usize| {
            let has_ports = is_first && matches!(protocol, TCP | UDP | SCTP);
            let bytes = transport.get(at..at + 2).filter(|_| has_ports)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let icmp = match transport {
            [kind, code, ..] if is_first && matches!(protocol, ICMP | ICMPV6) => Some((*kind, *code)),
            _ => None,
        };
        Some(Self { source, destination, protocol, source_port: port(0), destination_port: port(2), icmp })
    }

    /// Whether it is an ICMP error.
    pub const fn is_icmp_error(&self) -> bool {
        match (self.protocol, self.icmp) {
            (ICMP, Some((kind, _))) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (ICMPV6, Some((kind, _))) => kind < 128,
            _ => false,
        }
    }

    /// The protocol in words.
    pub fn protocol_word(&self) -> String {
        match self.protocol {
            TCP => "TCP".to_owned(),
            UDP => "UDP".to_owned(),
            SCTP => "SCTP".to_owned(),
            ICMP => "ICMP".to_owned(),
            ICMPV6 => "ICMPv6".to_owned(),
            47 => "GRE".to_owned(),
            50 => "ESP".to_owned(),
            number => format!("protocol {number}"),
        }
    }
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = |address: IpAddr, port: Option<u16>| match (address, port) {
            (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
            (address, None) => address.to_string(),
        };
        let source = end(self.source, self.source_port);
        let destination = end(self.destination, self.destination_port);
        write!(f, "{source} -> {destination}, {}", self.protocol_word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment_offset: u16) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 36, 0, 1];
        bytes.extend_from_slice(&fragment_offset.to_be_bytes());
        bytes.extend_from_slice(&[64, protocol, 0, 0, 172, 17, 0, 2, 192, 168, 57, 5]);
        bytes
    }

    #[test]
    fn headers_are_read() {
        let header = Header::read(&v4(17, 0), &[0x9c, 0x41, 0, 9]).unwrap();
        assert_eq!(header.to_string(), "172.17.0.2:40001 -> 192.168.57.5:9, UDP");
        let later = Header::read(&v4(17, 100), &[0x9c, 0x41, 0, 9]).unwrap();
        assert_eq!(later.to_string(), "172.17.0.2 -> 192.168.57.5, UDP");
        let echo = Header::read(&v4(1, 0), &[8, 0, 1, 2]).unwrap();
        assert_eq!((echo.icmp, echo.is_icmp_error()), (Some((8, 0)), false));
        assert!(Header::read(&v4(1, 0), &[3, 1]).unwrap().is_icmp_error());
        let mut v6 = vec![0x60, 0, 0, 0, 0, 4, 6, 64];
        v6.extend_from_slice(&"fd17::2".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend_from_slice(&"fd57::5".parse::<Ipv6Addr>().unwrap().octets());
        let header = Header::read(&v6, &[0, 80, 0, 81]).unwrap();
        assert_eq!(header.to_string(), "[fd17::2]:80 -> [fd57::5]:81, TCP");
    }

    #[test]
    fn what_is_cut_short_is_no_header() {
        let whole = v4(6, 0);
        for len in 0..whole.len() {
            assert_eq!(Header::read(&whole[..len], &[]), None, "{len} bytes");
        }
        assert_eq!(Header::read(&[0x10; 40], &[0; 20]), None);
        assert_eq!(Header::read(&whole, &[0]).unwrap().destination_port, None);
    }
}
