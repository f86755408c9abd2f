//! Texts to networks and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::mistake::{At, Mistakes, quote};
use super::raw::List;

/// What came of a text that should be a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subnet {
    /// That network.
    Read(IpNet),
    /// A mistake was reported; most likely this was meant.
    Guessed(IpNet),
    /// A mistake was reported; something in here was meant.
    Vague(IpNet),
    /// A mistake was reported.
    Unknown,
}

/// Networks that are never on a link, and what they are.
const SPECIAL: [(IpNet, &str); 10] = [
    (v4([0, 0, 0, 0], 8), "\"this network\" (0.0.0.0/8)"),
    (v4([127, 0, 0, 0], 8), "loopback (127.0.0.0/8)"),
    (v4([169, 254, 0, 0], 16), "link-local (169.254.0.0/16)"),
    (v4([224, 0, 0, 0], 4), "multicast (224.0.0.0/4)"),
    (v4([255, 255, 255, 255], 32), "broadcast (255.255.255.255)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "the unspecified address (::)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback (::1)"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "IPv4-mapped (::ffff:0:0/96)"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local (fe80::/10)"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast (ff00::/8)"),
];

const fn v4(octets: [u8; 4], length: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length)
}

const fn v6(groups: [u16; 8], length: u8) -> IpNet {
    let [a, b, c, d, e, f, g, h] = groups;
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length)
}

/// Reads one of the subnets of an entry.
pub(super) fn subnet(text: &At<String>, title: &str, mistakes: &mut Mistakes) -> Subnet {
    let mut refuse = |message: String, hint: String| {
        mistakes.add(text.span, message).hint(hint);
    };
    // Next to all networks of a file are right, and are not to be told.
    let quoted = || quote(&text.value);
    let Some((address, length)) = text.value.split_once('/') else {
        let quoted = quoted();
        return match text.value.parse::<IpAddr>() {
            Ok(address) => {
                let net = IpNet::from(address);
                let length = if address.is_ipv4() { 24 } else { 64 };
                let example = IpNet::new(address, length).map_or(net, |net| net.trunc());
                refuse(
                    format!("{quoted} is an address, not a network"),
                    format!("a network has a length, such as `{example}`; the address alone is `{net}`"),
                );
                Subnet::Guessed(net)
            }
            Err(_) => {
                refuse(
                    format!("{quoted} is not a network"),
                    "such as `192.168.56.0/24` or `fd56::/64`".to_owned(),
                );
                Subnet::Unknown
            }
        };
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let hint = "such as `192.168.56.0/24` or `fd56::/64`".to_owned();
        refuse(format!("{} is not a network", quoted()), hint);
        return Subnet::Unknown;
    };
    let net = match prefix_length(length).map(|length| IpNet::new(address, length)) {
        Some(Ok(net)) => net,
        _ => {
            let net = length.parse::<IpAddr>().ok().and_then(|mask| IpNet::with_netmask(address, mask).ok());
            let most = if address.is_ipv4() { 32 } else { 128 };
            let hint = match net {
                Some(net) => format!("with the prefix length instead of the mask: `{}`", net.trunc()),
                None => format!("a number from 1 to {most}"),
            };
            refuse(format!("{} is not a prefix length, in {}", quote(length), quoted()), hint);
            return net.map_or_else(|| vague(address), |net| Subnet::Guessed(net.trunc()));
        }
    };
    if net.prefix_len() == 0 {
        let hint = "write the networks that are on the link or routed behind it".to_owned();
        refuse(format!("{} is a default route, not a network of {title}", quoted()), hint);
        return Subnet::Unknown;
    }
    if net.addr() != net.network() {
        let hint = format!("the network is `{}`", net.trunc());
        refuse(format!("{} is an address, not a network", quoted()), hint);
        return Subnet::Guessed(net.trunc());
    }
    if let Some(what) = special(net) {
        let (message, hint) = if what.0.contains(&net) {
            let hint = "such addresses are not routed; leave it out";
            (format!("{} is {}", quoted(), what.1), hint.to_owned())
        } else {
            (format!("{} contains {}", quoted(), what.1), "a smaller network".to_owned())
        };
        refuse(message, hint);
        return Subnet::Vague(net);
    }
    Subnet::Read(net)
}

/// The first special network that has addresses in common with one.
fn special(net: IpNet) -> Option<&'static (IpNet, &'static str)> {
    if is_ordinary(net) {
        return None;
    }
    SPECIAL.iter().find(|(special, _)| special.contains(&net) || net.contains(special))
}

/// Whether the first bits alone tell that a network has nothing in common with [`SPECIAL`], as of most.
fn is_ordinary(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() >= 8 && !matches!(net.addr().octets()[0], 0 | 127 | 169 | 224..),
        IpNet::V6(net) => {
            let first = net.addr().segments()[0];
            net.prefix_len() >= 16 && !matches!(first, 0 | 0xfe80..=0xfebf | 0xff00..)
        }
    }
}

/// Whether a file cannot have this as a subnet: everything, or addresses that are not routed.
pub(crate) fn is_special(net: IpNet) -> bool {
    net.prefix_len() == 0 || special(net).is_some()
}

/// The network around an address whose prefix length is unknown.
fn vague(address: IpAddr) -> Subnet {
    let length = if address.is_ipv4() { 16 } else { 32 };
    IpNet::new(address, length).map_or(Subnet::Unknown, |net| Subnet::Vague(net.trunc()))
}

/// A decimal number without sign or leading zero.
fn prefix_length(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Reads the `to` of an exception: an address or a network.
pub(super) fn target(text: At<&str>, title: &str, mistakes: &mut Mistakes) -> Option<At<IpNet>> {
    let At { value, span } = text;
    if let Ok(address) = value.parse::<IpAddr>() {
        return Some(At { value: IpNet::from(address), span });
    }
    if let Some((address, port)) = with_port(value) {
        let message = format!("`to` of {title} has a port in it");
        mistakes
            .add(span, message)
            .hint(format!("in keys of their own: to = \"{address}\", protocol = \"tcp\", ports = [{port}]"));
        return None;
    }
    let parts = value.split_once('/').and_then(|(address, length)| {
        let address = address.parse::<IpAddr>().ok()?;
        IpNet::new(address, prefix_length(length)?).ok()
    });
    let Some(net) = parts else {
        let message = format!("`to` of {title} is neither an address nor a network");
        mistakes
            .add(span, message)
            .hint("such as `192.168.57.9` or `192.168.57.8/29`; names are not looked up");
        return None;
    };
    if net.addr() != net.network() {
        let message = format!("{} is an address, not a network", quote(value));
        let hint = format!("the network is `{}`, the address alone `{}`", net.trunc(), net.addr());
        mistakes.add(span, message).hint(hint);
    }
    Some(At { value: net.trunc(), span })
}

/// `192.168.57.9:2049` or `[fd57::9]:2049`.
fn with_port(text: &str) -> Option<(IpAddr, u16)> {
    text.parse::<std::net::SocketAddr>().ok().map(|socket| (socket.ip(), socket.port()))
}

/// Reads the addresses of `snat`.
pub(super) fn snat(texts: List<String>, title: &str, mistakes: &mut Mistakes) -> List<IpAddr> {
    let mut list: List<IpAddr> = List { span: texts.span, items: Vec::new(), faulty: texts.faulty };
    if let (Some(span), true, false) = (texts.span, texts.items.is_empty(), texts.faulty) {
        mistakes
            .add(span, format!("`snat` of {title} is empty"))
            .hint("one address for each family, or leave it out");
        list.faulty = true;
    }
    for text in texts.items {
        let quoted = quote(&text.value);
        let Ok(address) = text.value.parse::<IpAddr>() else {
            let found = mistakes.add(text.span, format!("{quoted} is not an address, in `snat` of {title}"));
            found.hint("such as `203.0.113.5`: one address, without prefix length or port");
            list.faulty = true;
            continue;
        };
        if let Some((_, what)) = special(IpNet::from(address)) {
            let message = format!("{quoted} is {what}, in `snat` of {title}");
            mistakes.add(text.span, message).hint("an address that answers can be sent to");
            list.faulty = true;
        }
        if let Some(first) = list.items.iter().find(|at| at.value.is_ipv4() == address.is_ipv4()) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let found = mistakes.add(text.span, format!("`snat` of {title} has a second {family} address"));
            found.related(first.span, "the first").hint("at most one for each family");
            list.faulty = true;
            continue;
        }
        list.items.push(At { value: address, span: text.span });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::mistake::Span;
    use super::*;

    /// `expected` is empty, or how the hint starts.
    fn check(text: &str, expected: &str, read: Option<&str>) {
        let mut mistakes = Mistakes::default();
        let at = At { value: text.to_owned(), span: Span::default() };
        let result = match subnet(&at, "nic `eth0`", &mut mistakes) {
            Subnet::Read(net) | Subnet::Guessed(net) | Subnet::Vague(net) => Some(net.to_string()),
            Subnet::Unknown => None,
        };
        assert_eq!(result.as_deref(), read, "{text}");
        let refused = mistakes.refuse("f", "");
        let hint = refused.mistakes.first().and_then(|mistake| mistake.hint.clone()).unwrap_or_default();
        assert!(hint.starts_with(expected) && hint.is_empty() == expected.is_empty(), "{text}: {hint}");
    }

    #[test]
    fn what_is_ordinary_is_not_special() {
        for (special, _) in &SPECIAL {
            let most = special.max_prefix_len();
            for length in 1..=most {
                let at = |address| IpNet::new(address, length).map(|net| net.trunc()).unwrap();
                for net in [at(special.network()), at(special.broadcast())] {
                    assert!(!is_ordinary(net), "{net}");
                }
            }
        }
    }

    #[test]
    fn subnets() {
        check("10.0.0.0/8", "", Some("10.0.0.0/8"));
        check("240.0.0.0/5", "", Some("240.0.0.0/5"));
        check("FD56::/64", "", Some("fd56::/64"));
        check("10.0.0.1/32", "", Some("10.0.0.1/32"));
        check("10.0.0.1/8", "the network is `10.0.0.0/8`", Some("10.0.0.0/8"));
        check("fd56::1/64", "the network is `fd56::/64`", Some("fd56::/64"));
        check("10.0.0.1", "a network has a length, such as `10.0.0.0/24`", Some("10.0.0.1/32"));
        check("fd56::1", "a network has a length, such as `fd56::/64`", Some("fd56::1/128"));
        check("10.1.2.0/33", "a number from 1 to 32", Some("10.1.0.0/16"));
        check("fd56::/129", "a number from 1 to 128", Some("fd56::/32"));
        check("10.0.0.0/+8", "a number from 1 to 32", Some("10.0.0.0/16"));
        check("10.0.0.0/255.0.0.0", "with the prefix length", Some("10.0.0.0/8"));
        check("10.0.0.0/0.0.0.255", "a number from 1 to 32", Some("10.0.0.0/16"));
        check("10.0.0.0/", "a number from 1 to 32", Some("10.0.0.0/16"));
        check("0.0.0.0/0", "write the networks", None);
        check("10.0.0/8", "such as", None);
        check("010.0.0.0/8", "such as", None);
        check("", "such as", None);
        check("/", "such as", None);
        check("128.0.0.0/1", "a smaller network", Some("128.0.0.0/1"));
        check("::/8", "a smaller network", Some("::/8"));
        check("255.255.255.255/32", "such addresses", Some("255.255.255.255/32"));
        check("127.1.0.0/16", "such addresses", Some("127.1.0.0/16"));
    }
}
