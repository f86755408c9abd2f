//! A rule set with every kind of set and every kind of expression.

use std::sync::Arc;

use crate::ruleset::{
    Aside, BaseChain, Chain, ChainKind, CmpOp, CtKey, ElementData, ElementKey, Elements, Expr,
    ExthdrProtocol, FIB_DADDR, FIB_IIF, Family, FibResult, FieldType, Hook, LookupTarget, MetaKey,
    PayloadBase, Policy, Priority, Reg, Rule, Ruleset, Set, SetData, Table, Verdict,
};

/// A set without elements.
pub(super) fn set(name: &str, key: &[FieldType], data: SetData, interval: bool) -> Set {
    let (name, key) = (Arc::from(name), key.to_vec());
    Set { name, key, data, interval, elements: Elements::new(), foreign_flags: 0 }
}

/// What comes with an element of a plain set.
pub(super) const PLAIN: ElementData = ElementData { verdict: None, value: None, origin: Aside(None) };

/// What comes with an element of a verdict map.
pub(super) fn decides(verdict: Verdict) -> ElementData {
    ElementData { verdict: Some(verdict), ..PLAIN }
}

/// A link name as it lies in a register.
pub(super) fn link(name: &str) -> Vec<u8> {
    padded(name.as_bytes(), 0)
}

fn padded(bytes: &[u8], filler: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(16, filler);
    bytes
}

/// All names with that prefix, in a tree: up to the name before the next prefix.
pub(super) fn prefix_in_tree(prefix: &str) -> ElementKey {
    ElementKey::range(padded(prefix.as_bytes(), 0), padded(prefix.as_bytes(), 0xff))
}

/// A chain without rules.
pub(super) fn chain(name: &str, base: Option<BaseChain>) -> Chain {
    Chain { name: Arc::from(name), base, rules: Vec::new() }
}

/// A rule without a handle.
pub(super) fn rule(comment: &str, exprs: &[Expr]) -> Rule {
    let (handle, origins) = (Aside(None), Aside(Vec::new()));
    Rule { comment: comment.to_owned(), exprs: exprs.to_vec(), handle, origins }
}

/// A base chain.
pub(super) fn base(kind: ChainKind, hook: Hook, priority: i32, policy: Policy) -> Option<BaseChain> {
    Some(BaseChain { kind, hook, priority: Priority(priority), policy, device: None })
}

fn meta(key: MetaKey, dreg: u8) -> Expr {
    Expr::Meta { key, dreg: Reg(dreg) }
}

fn payload(base: PayloadBase, offset: u32, len: u32, dreg: u8) -> Expr {
    Expr::Payload { base, offset, len, dreg: Reg(dreg) }
}

fn eq(data: &[u8]) -> Expr {
    Expr::Cmp { op: CmpOp::Eq, sreg: Reg(0), data: data.to_vec() }
}

fn lookup(set: &str, target: LookupTarget) -> Expr {
    Expr::Lookup { set: Arc::from(set), sreg: Reg(0), target }
}

fn ipv4() -> [Expr; 2] {
    [meta(MetaKey::NfProto, 0), eq(&[2])]
}

fn ipv6() -> [Expr; 2] {
    [meta(MetaKey::NfProto, 0), eq(&[10])]
}

fn insert_sets(table: &mut Table) {
    use FieldType::{
        EtherType, FibAddrType, IcmpType, Icmpv6Type, IfName, InetProto, InetService, Ipv4Addr, Ipv6Addr,
    };
    let mut insert = |mut set: Set, elements: &[(ElementKey, ElementData)]| {
        set.elements.extend(elements.iter().cloned());
        table.sets.insert(Arc::clone(&set.name), set);
    };
    let value = |bytes: &[u8]| (ElementKey::value(bytes), PLAIN);
    let range = |first: &[u8], last: &[u8]| (ElementKey::range(first, last), PLAIN);
    let plain = SetData::None;

    insert(set("links", &[IfName], plain, false), &[value(&link("eth1")), value(&link("eth1.100"))]);
    insert(
        set("v4", &[Ipv4Addr], plain, true),
        &[
            range(&[0, 0, 0, 0], &[0, 255, 255, 255]),
            range(&[10, 0, 0, 0], &[10, 0, 0, 255]),
            // Starts where the one before ends.
            range(&[10, 0, 1, 0], &[10, 0, 1, 255]),
            value(&[192, 0, 2, 1]),
            range(&[224, 0, 0, 0], &[255, 255, 255, 255]),
        ],
    );
    insert(set("top_v4", &[Ipv4Addr], plain, true), &[value(&[255; 4])]);
    let v6 = |head: [u8; 2], filler: u8| [&head[..], &[filler; 14]].concat();
    insert(
        set("v6", &[Ipv6Addr], plain, true),
        &[
            range(&v6([0xfd, 0x17], 0), &v6([0xfd, 0x17], 0xff)),
            range(&v6([0xfd, 0x18], 0), &v6([0xfd, 0x18], 0xff)),
            range(&v6([0xff, 0], 0), &[0xff; 16]),
        ],
    );
    insert(set("ports", &[InetService], plain, true), &[range(&[0, 1], &[4, 0]), value(&[255, 255])]);
    insert(set("protocols", &[InetProto], plain, false), &[value(&[6]), value(&[17])]);
    insert(set("ethertypes", &[EtherType], plain, false), &[value(&[8, 0]), value(&[8, 6])]);
    insert(set("icmp_types", &[IcmpType], plain, false), &[value(&[5])]);
    insert(set("icmp6_types", &[Icmpv6Type], plain, false), &[value(&[134]), value(&[137])]);
    let types = [2_u32, 3, 5].map(|number| value(&number.to_ne_bytes()));
    insert(set("types", &[FibAddrType], plain, false), &types);

    let pair = |a: &str, b: &str| ElementKey::value([link(a), link(b)].concat());
    insert(
        set("pairs", &[IfName, IfName], SetData::Verdict, false),
        &[
            (pair("docker0", "docker0"), decides(Verdict::Accept)),
            (pair("docker0", "eth0"), decides(Verdict::Jump("common".into()))),
        ],
    );
    insert(
        set("prefixes", &[IfName], SetData::Verdict, true),
        &[
            (prefix_in_tree("br-"), decides(Verdict::Goto("common".into()))),
            (ElementKey::value(link("docker0")), decides(Verdict::Return)),
            (prefix_in_tree("veth"), decides(Verdict::Drop)),
            (prefix_in_tree("wlan"), decides(Verdict::Continue)),
        ],
    );
    let prefix_pair = ElementKey::range(
        [padded(b"br-", 0), link("docker0")].concat(),
        [padded(b"br-", 0xff), link("docker0")].concat(),
    );
    insert(
        set("prefix_pairs", &[IfName, IfName], SetData::Verdict, true),
        &[(prefix_pair, decides(Verdict::Accept))],
    );
    let snat = ElementData { value: Some(Box::new([203, 0, 113, 5])), ..PLAIN };
    insert(
        set("snat_v4", &[IfName, IfName], SetData::Value(Ipv4Addr), false),
        &[(pair("eth2", "eth0"), snat)],
    );
    let allow_v4 = |name: &[u8], filler, ports: [[u8; 2]; 2]| {
        let end = |addresses: [u8; 4], port: [u8; 2], filler| {
            [&padded(name, filler)[..], &addresses, &[192, 168, 57, 9], &[6, 0, 0, 0], &port, &[0, 0]]
                .concat()
        };
        range(&end([172, 17, 0, 0], ports[0], 0), &end([172, 17, 255, 255], ports[1], filler))
    };
    insert(
        set("allow_v4", &[IfName, Ipv4Addr, Ipv4Addr, InetProto, InetService], plain, true),
        &[
            allow_v4(b"br-", 0xff, [[0, 1], [255, 255]]),
            allow_v4(b"docker0", 0, [[8, 1], [8, 1]]),
            allow_v4(b"docker1", 0, [[0, 80], [0, 90]]),
        ],
    );
    let allow_v6 = |tail: u8| {
        [&link("docker0")[..], &v6([0xfd, 0x17], tail), &v6([0xfd, 0x57], 9), &[6, 0, 0, 0], &[8, 1, 0, 0]]
            .concat()
    };
    insert(
        set("allow_v6", &[IfName, Ipv6Addr, Ipv6Addr, InetProto, InetService], plain, true),
        &[range(&allow_v6(0), &allow_v6(0xff))],
    );
    insert(
        set("sockets", &[IfName, InetService], plain, false),
        &[value(&[&link("eth0")[..], &4789_u16.to_be_bytes(), &[0, 0]].concat())],
    );
}

fn forward() -> Chain {
    let drop = [Expr::counter(), Expr::Verdict(Verdict::Drop)];
    let accept = [Expr::counter(), Expr::Verdict(Verdict::Accept)];
    let exthdr =
        |protocol, kind| Expr::Exthdr { protocol, kind, offset: 0, len: 1, present: true, dreg: Reg(0) };
    let ct = |key, mask: u32| {
        [
            Expr::Ct { key, direction: None, dreg: Reg(0) },
            Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: mask.to_ne_bytes().into(), xor: vec![0; 4] },
            Expr::Cmp { op: CmpOp::Neq, sreg: Reg(0), data: vec![0; 4] },
        ]
    };
    use PayloadBase::{Network, Transport};
    let mut chain = chain("forward", base(ChainKind::Filter, Hook::Forward, -10, Policy::Drop));
    chain.rules = vec![
        rule(
            "F1 source routing",
            &[&ipv4()[..], &[exthdr(ExthdrProtocol::Ipv4, 131), eq(&[1])], &drop].concat(),
        ),
        rule(
            "F2 routing header",
            &[&ipv6()[..], &[exthdr(ExthdrProtocol::Ipv6, 43), eq(&[1])], &drop].concat(),
        ),
        rule(
            "F3 exceptions",
            &[
                &ipv4()[..],
                &[
                    meta(MetaKey::IifName, 0),
                    payload(Network, 12, 4, 4),
                    payload(Network, 16, 4, 5),
                    meta(MetaKey::L4Proto, 6),
                    payload(Transport, 2, 2, 7),
                    lookup("allow_v4", LookupTarget::Match),
                ],
                &accept,
            ]
            .concat(),
        ),
        rule(
            "F4 exceptions",
            &[
                &ipv6()[..],
                &[
                    meta(MetaKey::IifName, 0),
                    payload(Network, 8, 16, 4),
                    payload(Network, 24, 16, 8),
                    meta(MetaKey::L4Proto, 12),
                    payload(Transport, 2, 2, 13),
                    lookup("allow_v6", LookupTarget::Match),
                ],
                &accept,
            ]
            .concat(),
        ),
        rule("F5 with a prefix", &[meta(MetaKey::OifName, 0), eq(b"br-"), Expr::Verdict(Verdict::Return)]),
        rule(
            "F6",
            &[meta(MetaKey::IifName, 0), meta(MetaKey::OifName, 4), lookup("pairs", LookupTarget::Verdict)],
        ),
        rule("F7", &[meta(MetaKey::IifName, 0), lookup("prefixes", LookupTarget::Verdict)]),
        rule(
            "F8",
            &[
                meta(MetaKey::IifName, 0),
                meta(MetaKey::OifName, 4),
                lookup("prefix_pairs", LookupTarget::Verdict),
            ],
        ),
        rule("F9 published", &[&ct(CtKey::Status, 0x20)[..], &accept].concat()),
        rule("F10", &[&ct(CtKey::State, 6)[..], &accept].concat()),
        rule(
            "F11",
            &[Expr::Ct { key: CtKey::Direction, direction: None, dreg: Reg(0) }, eq(&[1]), accept[1].clone()],
        ),
        rule(
            "",
            &[&ipv4()[..], &[payload(Network, 16, 4, 0), lookup("v4", LookupTarget::NoMatch)], &drop]
                .concat(),
        ),
        rule(
            "",
            &[&ipv4()[..], &[payload(Network, 12, 4, 0), lookup("top_v4", LookupTarget::Match)], &drop]
                .concat(),
        ),
        rule(
            "",
            &[&ipv6()[..], &[payload(Network, 8, 16, 0), lookup("v6", LookupTarget::Match)], &drop].concat(),
        ),
        rule(
            "",
            &[
                meta(MetaKey::OifName, 0),
                lookup("links", LookupTarget::Match),
                Expr::Verdict(Verdict::Jump("common".into())),
            ],
        ),
        rule("", &[Expr::Verdict(Verdict::Goto("common".into()))]),
    ];
    chain
}

fn other_chains() -> [Chain; 3] {
    use PayloadBase::{Network, Transport};
    let mut common = chain("common", None);
    let protocol = |number: u8| [meta(MetaKey::L4Proto, 0), eq(&[number])];
    let fib = |result, present| Expr::Fib { flags: FIB_DADDR | FIB_IIF, result, present, dreg: Reg(0) };
    common.rules = vec![
        rule("C1", &[fib(FibResult::Oif, true), eq(&[1]), Expr::Verdict(Verdict::Accept)]),
        rule("C2", &[fib(FibResult::Oif, false), eq(&[1, 0, 0, 0]), Expr::Verdict(Verdict::Accept)]),
        rule(
            "C3",
            &[
                fib(FibResult::AddrType, false),
                lookup("types", LookupTarget::Match),
                Expr::Verdict(Verdict::Accept),
            ],
        ),
        rule(
            "C3",
            &[
                &ipv4()[..],
                &protocol(1),
                &[
                    payload(Transport, 0, 1, 0),
                    lookup("icmp_types", LookupTarget::Match),
                    Expr::Verdict(Verdict::Drop),
                ],
            ]
            .concat(),
        ),
        rule(
            "C4",
            &[
                &ipv6()[..],
                &protocol(58),
                &[
                    payload(Transport, 0, 1, 0),
                    lookup("icmp6_types", LookupTarget::Match),
                    Expr::Verdict(Verdict::Drop),
                ],
            ]
            .concat(),
        ),
        rule(
            "C5",
            &[
                &protocol(17)[..],
                &[
                    payload(Transport, 2, 2, 0),
                    eq(&4789_u16.to_be_bytes()),
                    meta(MetaKey::IifName, 0),
                    payload(Transport, 2, 2, 4),
                    lookup("sockets", LookupTarget::NoMatch),
                    Expr::counter(),
                ],
            ]
            .concat(),
        ),
        rule("C6", &[payload(Transport, 2, 2, 0), lookup("ports", LookupTarget::Match), Expr::counter()]),
        rule(
            "C7",
            &[
                meta(MetaKey::L4Proto, 0),
                lookup("protocols", LookupTarget::Match),
                Expr::Verdict(Verdict::Continue),
            ],
        ),
        rule(
            "C8 a mask in the middle",
            &[
                &ipv4()[..],
                &[
                    payload(Network, 16, 4, 0),
                    Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: vec![255, 0, 255, 0], xor: vec![0; 4] },
                    eq(&[10, 0, 1, 0]),
                    Expr::counter(),
                ],
            ]
            .concat(),
        ),
        rule("C9", &[meta(MetaKey::Protocol, 0), eq(&[0x86, 0xdd]), Expr::counter()]),
    ];
    let mut input = chain("input", base(ChainKind::Filter, Hook::Input, -10, Policy::Accept));
    input.rules =
        vec![rule("I1", &[meta(MetaKey::IifName, 0), eq(&link("lo")), Expr::Verdict(Verdict::Accept)])];
    let mut postrouting = chain("postrouting", base(ChainKind::Nat, Hook::Postrouting, 95, Policy::Accept));
    postrouting.rules = vec![
        rule("P1", &[meta(MetaKey::OifName, 0), eq(&link("eth0")), Expr::counter(), Expr::Masquerade]),
        rule(
            "P2",
            &[
                &ipv4()[..],
                &[
                    meta(MetaKey::IifName, 0),
                    meta(MetaKey::OifName, 4),
                    lookup("snat_v4", LookupTarget::Reg(Reg(0))),
                    Expr::Snat { nfproto: 2, address: Reg(0) },
                ],
            ]
            .concat(),
        ),
    ];
    [common, input, postrouting]
}

/// The whole of it.
pub(super) fn ruleset() -> Ruleset {
    let mut inet = Table::new(Family::Inet);
    insert_sets(&mut inet);
    for chain in other_chains().into_iter().chain([forward()]) {
        inet.chains.insert(Arc::clone(&chain.name), chain);
    }
    let mut bridge = Table::new(Family::Bridge);
    let mut types = set("types", &[FieldType::EtherType], SetData::None, false);
    types.elements.extend([[8, 0], [8, 6], [0x86, 0xdd]].map(|bytes| (ElementKey::value(bytes), PLAIN)));
    bridge.sets.insert(Arc::clone(&types.name), types);
    let mut forward = chain("forward", base(ChainKind::Filter, Hook::Forward, -210, Policy::Accept));
    forward.rules = vec![rule(
        "B1",
        &[
            payload(PayloadBase::Link, 12, 2, 0),
            lookup("types", LookupTarget::NoMatch),
            Expr::Verdict(Verdict::Drop),
        ],
    )];
    bridge.chains.insert(Arc::clone(&forward.name), forward);
    Ruleset::from([(Family::Inet, inet), (Family::Bridge, bridge)])
}
