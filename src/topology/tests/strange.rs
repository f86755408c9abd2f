//! Files nobody wrote: truncated, changed, enormous.

use super::*;

/// Neither hangs nor panics: reads, refuses, renders.
fn survives(bytes: &[u8]) {
    if let Err(refused) = parse("f", bytes) {
        assert!(!refused.mistakes.is_empty());
        for width in [0, 80] {
            assert!(refused.render(false, width).ends_with("nothing was planned.\n"));
        }
    }
}

/// The name stands in comments of rule sets and documents, and in messages on terminals.
#[test]
fn a_file_name_is_one_line() {
    let name = "a\nflush ruleset\r\u{1b}[2J\u{202e}.toml";
    let topology = parse(name, VALID.as_bytes()).unwrap();
    assert_eq!(topology.file, "a\\nflush ruleset\\r\\u{1b}[2J\\u{202e}.toml");
    let intent = crate::intent::Intent::new(&topology);
    let nft = crate::render::nft::file(&intent).unwrap();
    let iptables = crate::render::iptables::file(&intent).unwrap();
    let sysctl = crate::render::sysctl::file(&intent).unwrap();
    for text in [nft, iptables, sysctl] {
        assert!(text.lines().all(|line| !line.starts_with("flush ruleset")), "{text}");
        assert!(!text.contains(['\r', '\u{1b}', '\u{202e}']), "{text}");
    }
}

#[test]
fn every_truncation_is_survived() {
    for end in 0..=VALID.len() {
        survives(&VALID.as_bytes()[..end]);
    }
}

#[test]
fn changed_bytes_are_survived() {
    let mut state = 1_u64;
    let mut next = |below: usize| {
        // Knuth's MMIX constants; any sequence will do, as long as it is the same one each time.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let tokens = [
        "[",
        "]",
        "[[",
        "]]",
        "\"",
        "'",
        "'''",
        "\"\"\"",
        "=",
        ",",
        "{",
        "}",
        "\n",
        ".",
        "#",
        "*",
        "/",
        "-",
        "\\u",
        "ä",
        "容",
        "\u{308}",
        "\u{202e}",
        "\t",
        "\r",
        "0",
        "9",
        "true",
        "inf",
        "1979-05-27",
        "\0",
    ];
    let pieces: Vec<&str> = tokens.into_iter().chain(VALID.split_inclusive('\n')).collect();
    for _ in 0..3000 {
        let mut bytes = VALID.as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes[at] ^= 1 << next(8),
                2 => drop(bytes.drain(at..(at + next(40)).min(bytes.len()))),
                _ => drop(bytes.splice(at..at, pieces[next(pieces.len())].bytes())),
            }
        }
        survives(&bytes);
    }
}

#[test]
fn no_file_is_too_strange() {
    let deep = |open: &str, close: &str, n: usize| format!("nic = {}{}\n", open.repeat(n), close.repeat(n));
    survives(deep("[", "]", 1_000_000).as_bytes());
    survives(deep("[", "", 100_000).as_bytes());
    survives(deep("{a=", "}", 100_000).as_bytes());
    survives("[".repeat(100_000).as_bytes());
    survives(format!("a{} = 1\n", ".a".repeat(100_000)).as_bytes());
    survives(format!("[a{}]\n", ".a".repeat(100_000)).as_bytes());
    survives(format!("[[nic{}]]\n", ".nic".repeat(100_000)).as_bytes());
    survives("[[nic]]\n".repeat(100_001).as_bytes());
    survives("a\n".repeat(50_000).as_bytes());
    survives("=".repeat(100_000).as_bytes());
    survives("nic = [1] ".repeat(20_000).as_bytes());
    survives(&[0x7f; 1000]);
    survives(&[0; 1000]);
    survives(&[0xff; 1000]);
    survives(&(0..=255).collect::<Vec<u8>>());
    survives("\u{feff}\u{feff}".as_bytes());
    survives("\r\r\n\r".as_bytes());
}

#[test]
fn large_files() {
    let Err(refused) = parse("f", &vec![b'#'; (16 << 20) + 1]) else { panic!("accepted") };
    assert_eq!(refused.mistakes[0].message, "the file has 16777217 bytes, more than 16 MiB");
    // A comment of 10 MiB before the mistake, and a line of 10 MiB with it.
    let comment = format!("#{}\n[[nic]]\nname = 1\nrole = 'x'\n", "x".repeat(10 << 20));
    let Err(refused) = parse("f", comment.as_bytes()) else { panic!("accepted") };
    assert_eq!((refused.mistakes[0].line, refused.mistakes[0].column), (3, 8));
    let line = format!("nic = [{{ name = '{}', role = 1 }}]\n", "x".repeat(10 << 20));
    let Err(refused) = parse("f", line.as_bytes()) else { panic!("accepted") };
    let text = refused.render(false, 80);
    assert!(text.contains(&format!("--> f:1:{}\n", line.find("1 }").unwrap_or_default() + 1)), "{text}");
    assert!(text.len() < 10_000);
}

/// 10,000 of each: a check that compares all with all would take minutes.
#[test]
fn many_entries() {
    let mut good = String::from("[[nic]]\nname = 'e0'\nrole = 'service'\nsubnets = ['192.168.0.0/16']\n");
    let mut bad = String::new();
    for n in 0..10_000 {
        let (high, low, next) = (n / 256, n % 256, (n + 1) % 10_000);
        good.push_str(&format!("[[bridge]]\nname = 'b{n}'\nsubnets = ['10.{high}.{low}.0/24']\n"));
        good.push_str(&format!("reach = ['service', 'b{next}']\n"));
        good.push_str(&format!("[[allow]]\nfrom = 'b0'\nto = '192.168.{high}.{low}'\nprotocol = 'tcp'\n"));
        good.push_str(&format!("ports = [{}]\n", n + 1));
        let (half, length) = (n / 2, n % 25 + 4);
        bad.push_str(&format!("[[nic]]\nname = 'x{half}'\nrole = 'r{n}'\nsubnets = ['10.0.0.0/{length}']\n"));
        bad.push_str(&format!("reach = ['y{n}', 'r{half}x']\n[[bridge]]\nname = 'x{half}*'\n"));
        bad.push_str(&format!("[[allow]]\nfrom = 'x1'\nto = '11.0.0.0/{length}'\nprotocol = 'tcp'\n"));
        bad.push_str(&format!("ports = [{n}]\n[[nic]]\nname = 'empty{n}'\nrole = 'e{half}'\n"));
    }
    let started = std::time::Instant::now();
    assert_eq!(parsed(&good).networks.len(), 10_000);
    let good_took = started.elapsed();
    survives(bad.as_bytes());
    let took = started.elapsed();
    assert!(took.as_secs() < 60, "{good_took:?} for 10,000 good ones, {took:?} for all");
}
