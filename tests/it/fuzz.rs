//! The fuzz targets without libFuzzer: over their kept corpus, cut short and scrambled. `make fuzz` goes further.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library of its own, for libFuzzer")]
mod targets;

/// Numbers that look random and are the same every time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("below a usize")
    }
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(directory).expect("list a corpus").map(|entry| entry.expect("list").path());
    let mut files: Vec<_> = entries
        .map(|path| (path.display().to_string(), fs::read(&path).expect("read a file of the corpus")))
        .collect();
    files.sort();
    files
}

/// Those that mean something in JSON or TOML, and some that should not be there.
const BYTES: &[u8] = b"0123456789\"{}[],-:=\0\n\xff\x1b az";

/// One to five edits: a byte changed, a run left out or said twice, a run of another file put in.
fn scrambled(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(24)).min(bytes.len());
        match random.below(5) {
            _ if bytes.is_empty() => bytes.push(b'{'),
            0 => bytes[at] = BYTES[random.below(BYTES.len())],
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let run = bytes[at..end].to_vec();
                bytes.splice(at..at, run);
            }
            _ => {
                let from = random.below(other.len());
                let to = (from + random.below(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

/// Runs a target on every file, and on so many changed ones.
#[track_caller]
fn check(target: &str, run: fn(&[u8]), times: usize) {
    let files = corpus(target);
    assert!(files.len() > 2, "the corpus of {target} has {} files", files.len());
    let mut random = Random(0x1505_1a17);
    for (name, bytes) in &files {
        eprintln!("{name}");
        run(bytes);
        for _ in 0..times / files.len() {
            run(&bytes[..random.below(bytes.len())]);
            let other = &files[random.below(files.len())].1;
            run(&scrambled(bytes, other, &mut random));
        }
    }
}

#[test]
fn topologies() {
    check("topology", targets::topology, 1_000);
}

#[test]
fn answers_of_the_kernel() {
    check("netlink", targets::netlink, 20_000);
}

#[test]
fn saved_plans() {
    check("plan", targets::plan, 1_000);
}

#[test]
fn snapshots() {
    check("snapshot", targets::snapshot, 1_000);
}

#[test]
fn journals() {
    check("journal", targets::journal, 20_000);
}

/// A corpus that no target reads any more would only look like a test.
#[test]
fn what_is_kept_is_read_back() {
    for (target, kinds) in [("plan", 3), ("snapshot", 3), ("journal", 1)] {
        let is_read = |bytes: &Vec<u8>| match target {
            "plan" => isoplan::saved::SavedPlan::from_bytes(bytes).is_ok(),
            "snapshot" => isoplan::saved::Snapshot::from_bytes(bytes).is_ok(),
            _ => {
                let entries = isoplan::apply::journal::parse(bytes, "17738e66-4655-456d-b6e1-22f6fddad97c");
                entries.is_ok_and(|entries| !entries.is_empty())
            }
        };
        let read = corpus(target).iter().filter(|(_, bytes)| is_read(bytes)).count();
        assert!(read >= kinds, "only {read} files of the corpus of {target} are read");
    }
}
