//! Tests that talk to a real kernel: each in namespaces of its own, in a process of its own.

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Set in the process that is inside the namespaces already.
const INSIDE: &str = "ISOPLAN_TEST_NS";

/// Who a test is within its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// Root in a user namespace of its own: what an ordinary user can be.
    Rootless,
    /// Root of the host, in a network namespace of its own.
    Root,
}

/// Runs `body` in a fresh network, mount and process namespace.
///
/// The test binary starts itself again under `unshare`, for this test only; `module` and `name` say
/// which. Where there are no namespaces the test is skipped with a line on stderr, and fails when `CI` is
/// set.
pub(crate) fn in_namespaces(module: &str, name: &str, privilege: Privilege, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut unshare = Command::new("unshare");
    if privilege == Privilege::Rootless {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    let mut trial = Command::new(unshare.get_program());
    trial.args(unshare.get_args()).args(["nft", "list", "ruleset"]);
    let trial = trial.stdin(Stdio::null()).output();
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        return skip(name, &format!("no namespaces with nft here: {trial:?}"));
    }
    // The name of a test starts behind the crate's.
    let module = module.split_once("::").map_or(module, |(_, rest)| rest);
    let output = unshare
        .arg(env::current_exe().expect("the test binary has a path"))
        .args(["--exact", &format!("{module}::{name}"), "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts, as it just did");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside the namespaces:\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test ran inside the namespaces:\n{stdout}");
}

/// Reports a test that cannot run here.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skip(name: &str, reason: &str) {
    assert!(env::var_os("CI").is_none(), "{name} cannot be skipped in CI: {reason}");
    eprintln!("skipped {name}: {reason}");
}

/// Runs nft; hands back what it printed. It must succeed.
pub(crate) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("nft starts");
    assert!(output.status.success(), "nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("nft prints UTF-8")
}

/// Loads nft syntax.
pub(crate) fn load(text: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft starts");
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("nft reads");
    let output = child.wait_with_output().expect("nft ends");
    assert!(output.status.success(), "nft -f: {}\n{text}", String::from_utf8_lossy(&output.stderr));
}
