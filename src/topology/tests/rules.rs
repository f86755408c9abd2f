//! Where the line is between what is accepted and what is refused, for names, reach and NICs.

use super::*;

/// Entries in short: `bridge name=b0 reach=[service,b1]; nic name=e0 role=service`.
fn toml(short: &str) -> String {
    let mut text = String::new();
    for entry in short.split("; ") {
        let mut words = entry.split(' ');
        let kind = words.next().unwrap_or_default();
        text.push_str(&if kind == "isolation" {
            "[isolation]\n".to_owned()
        } else {
            format!("[[{kind}]]\n")
        });
        for word in words {
            let (key, value) = word.split_once('=').unwrap();
            let quoted = |item: &str| format!("'{item}'");
            let value = match value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
                Some(list) => {
                    let items = list.split(',').filter(|item| !item.is_empty()).map(quoted);
                    format!("[{}]", items.collect::<Vec<_>>().join(", "))
                }
                None if matches!(value, "true" | "false") || value.parse::<u32>().is_ok() => value.to_owned(),
                None => quoted(value),
            };
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    text
}

/// `expected` are parts of the messages, in order; none where the file is accepted.
fn check(short: &str, expected: &[&str]) {
    let text = toml(short);
    let found: Vec<String> = match parse("topology.toml", text.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.mistakes.into_iter().map(|mistake| mistake.message).collect(),
    };
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.contains(e));
    assert!(same, "{found:?} instead of {expected:?} in:\n{text}");
}

#[test]
fn names() {
    check("bridge name=a23456789012345", &[]);
    check("bridge name=a234567890123456", &["16 bytes"]);
    check("bridge name=a2345678901234*", &[]);
    check("bridge name=a23456789012345*", &["16 bytes"]);
    check("bridge name=*", &["every interface"]);
    check("bridge name=a**", &["has a `*`"]);
    check("bridge name=l*", &["loopback"]);
    check("bridge name=lo*", &["reserved"]);
    check("bridge name=veth.1@2_-", &[]);
    check("nic name=e* role=service", &["must be one interface"]);
    check("bridge name=e0; nic name=e0 role=service", &["used twice"]);
    check("bridge name=b*; bridge name=b*", &["used twice"]);
    check(
        "bridge name=b*; bridge name=ba*; bridge name=bab*; bridge name=c*",
        &["covers all of `ba*`", "covers all of `bab*`"],
    );
    check("overlay name=e* underlay=e0 vni=1; nic name=e0 role=service", &["also matches nic `e0`"]);
    check("bridge name=f*; nic name=e0 role=service; flat name=f0 nic=e0", &["also matches flat `f0`"]);
}

#[test]
fn exact_names_within_a_pattern() {
    let net = "nic name=e0 role=service subnets=[10.0.0.0/24]";
    check(&format!("bridge name=b*; bridge name=b0; {net}"), &[]);
    check(&format!("bridge name=b* reach=[b*]; bridge name=b0; {net}"), &["bridge `b0` is also matched"]);
    check(&format!("bridge name=b* reach=[c]; bridge name=b0; bridge name=c; {net}"), &["bridge `b0`"]);
    check(&format!("bridge name=b*; bridge name=b0; bridge name=c reach=[b*]; {net}"), &["bridge `b0`"]);
    check(&format!("bridge name=b*; bridge name=b0; bridge name=c reach=[b0]; {net}"), &[]);
    let subnets = "bridge name=b* subnets=[10.1.0.0/24]; bridge name=b0 subnets=[10.2.0.0/24]";
    check(&format!("{subnets}; {net}; allow from=b* to=10.0.0.1"), &["bridge `b0`"]);
    check(&format!("{subnets}; {net}; allow from=b0 to=10.0.0.1"), &[]);
    check(&format!("{subnets}; {net}; allow from=e0 to=10.1.0.1"), &["bridge `b0`"]);
    check(&format!("{subnets}; {net}; allow from=e0 to=10.2.0.1"), &[]);
}

#[test]
fn reach() {
    check("bridge name=b0 reach=[b0]", &["always reaches itself"]);
    check("bridge name=b* reach=[b*]", &[]);
    check("bridge name=b* reach=[b0]", &["no NIC has the role `b0`"]);
    check("bridge name=b0 reach=[service]", &["no NIC has the role `service`"]);
    check("bridge name=b0 reach=[]", &[]);
    check("bridge name=b0 reach=[r,r]; nic name=e0 role=r", &["twice"]);
    check("bridge name=b0 reach=[e0]; nic name=e0 role=r subnets=[10.0.0.0/8]", &["names nic `e0`"]);
    check("bridge name=r; nic name=e0 role=r subnets=[10.0.0.0/8]", &["is a role and the name"]);
    check("nic name=e0 role=r reach=[r]", &["no other NIC"]);
    check("nic name=e0 role=r reach=[r]; nic name=e1 role=r reach=[r]", &[]);
    check("nic name=e0 role=r reach=[b0]; bridge name=b0 reach=[r]", &[]);
    check(
        "nic name=e0 role=r; bridge name=b0 reach=[r]; flat name=f0 nic=e0 reach=[b0]",
        &["can only reach roles"],
    );
}

#[test]
fn nics_without_subnets() {
    check("nic name=e0 role=r", &[]);
    check("nic name=e0 role=service; bridge name=b0; bridge name=b1", &[]);
    check("nic name=e0 role=service; bridge name=b0; bridge name=b1 reach=[]", &["guarded from bridge `b1`"]);
    check(
        "nic name=e0 role=a; nic name=e1 role=b subnets=[10.0.0.0/8]",
        &["`e0` has no subnets, but is guarded from nic `e1`"],
    );
    check("nic name=e0 role=a; nic name=e1 role=b subnets=[10.0.0.0/8] reach=[a]", &[]);
    check("nic name=e0 role=a; flat name=f0 nic=e0 reach=[]", &[]);
    let flat = "nic name=e0 role=a; nic name=e1 role=b subnets=[10.0.0.0/8] reach=[a]; flat name=f0 nic=e1";
    check(&format!("{flat} reach=[a]"), &[]);
    check(&format!("{flat} reach=[]"), &["guarded from flat `f0`"]);
}

#[test]
fn translation() {
    let other = "nic name=e1 role=service subnets=[10.1.0.0/16]";
    let nic = "nic name=e0 role=lan subnets=[10.0.0.0/16]";
    check(&format!("{other}; {nic} masquerade=true reach=[service]"), &[]);
    check(&format!("{other}; {nic} masquerade=true"), &["`masquerade` but reaches nobody"]);
    check(&format!("{other}; {nic} masquerade=false"), &[]);
    check(&format!("{other}; {nic} snat=192.0.2.1 reach=[service]"), &[]);
    check(&format!("{other}; {nic} snat=192.0.2.1 masquerade=false reach=[service]"), &[]);
    check(&format!("{other}; {nic} snat=192.0.2.1 masquerade=true reach=[service]"), &["both"]);
    check(&format!("{other}; {nic} snat=192.0.2.1 reach=[]"), &["`snat` but reaches nobody"]);
    check(&format!("{other}; {nic} snat=[fd00::1] reach=[service]"), &["no IPv6 subnet"]);
    check(&format!("{other}; {nic} snat=[192.0.2.1,192.0.2.2] reach=[service]"), &["second IPv4"]);
    check(&format!("{other}; {nic} snat=0.0.0.0 reach=[service]"), &["0.0.0.0"]);
    check(
        &format!("isolation approach=sysctl; {other}; {nic} snat=192.0.2.1 reach=[service]"),
        &["cannot do `snat`"],
    );
    check(&format!("isolation approach=sysctl masquerade=true; {other}"), &["cannot masquerade"]);
    check(&format!("isolation approach=sysctl masquerade=false; {other}"), &[]);
    check(&format!("isolation approach=layered; {other}"), &["one to compare with"]);
}

/// What a mistake leaves unclear is not reported a second time.
#[test]
fn no_mistake_is_reported_twice() {
    let bridge = "bridge name=b0 subnets=[10.1.0.0/16]";
    check(
        &format!("{bridge}; nic name=e0 role=r subnets=[10.2.0.1/24]; allow from=b0 to=10.2.0.9"),
        &["is an address"],
    );
    check(
        &format!("{bridge}; nic name=e0 role=r subnets=[10.2.0.0/40]; allow from=b0 to=10.2.0.9"),
        &["not a prefix length"],
    );
    check("bridge name=a234567890123456; bridge name=b reach=[a234567890123456]", &["16 bytes"]);
    check("nic name=e0 role=0r; bridge name=b reach=[0r]", &["role of nic"]);
    check("brigde name=b0", &["unknown key `brigde`"]);
}
