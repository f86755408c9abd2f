//! What happens between the plan that was shown and the answer.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use nix::pty::openpty;

use super::{delete_table, journal_file, set_forwarding, start, state};
use crate::lab::{Program, Ran, in_namespace};
use crate::live::{forwarding, listing, rules};

const STALE: &str = "changed after the plan was made; nothing was changed";

/// Runs it with a terminal to ask on. Once it has asked, something happens, and then the answer is yes.
fn asked(isoplan: &Program, args: &[&str], meanwhile: impl FnOnce()) -> Ran {
    let terminal = openpty(None, None).expect("open a terminal");
    let mut child = isoplan
        .command(args)
        .stdin(terminal.slave)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start isoplan");
    let mut stderr = child.stderr.take().expect("stderr is a pipe");
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"[y/N] ") {
        stderr.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("it did not ask: {error}\n{}", String::from_utf8_lossy(&said));
        });
        said.extend(byte);
    }
    meanwhile();
    File::from(terminal.master.try_clone().expect("share the terminal")).write_all(b"y\n").expect("answer");
    stderr.read_to_end(&mut said).expect("read what it says");
    let output = child.wait_with_output().expect("wait for isoplan");
    Ran {
        command: format!("isoplan {}, answered yes", args.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&said).into_owned(),
    }
}

#[track_caller]
fn check_stale(ran: &Ran) {
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains(STALE), "{ran}");
}

/// A plan that only switched forwarding on did so without looking at the tables again: with the tables
/// deleted meanwhile, the host forwarded everything.
#[test]
fn forwarding_is_not_switched_on_when_the_tables_went_meanwhile() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        set_forwarding(&host, "0");
        let plan = isoplan.run(&["plan", "topology.toml", "--json"]).json();
        let changes = plan["changes"].as_array().expect("a list of changes");
        assert!(changes.len() == 1 && changes[0]["kind"] == "sysctl", "{plan:#}");
        let journal = std::fs::read(journal_file(&isoplan)).expect("read the journal");
        let ran = asked(&isoplan, &["apply", "topology.toml"], || delete_table(&host));
        check_stale(&ran);
        assert_eq!(state(&host), (None, ["0", "0"].map(str::to_owned)), "{ran}");
        assert_eq!(std::fs::read(journal_file(&isoplan)).expect("read the journal"), journal, "{ran}");

        // Run again, it shows and does what is to be done now.
        let ran = asked(&isoplan, &["apply", "topology.toml"], || ());
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(forwarding(&host), ["1", "0"], "{ran}");
        assert!(listing(&host).is_some(), "{ran}");
    });
}

/// Sysctls that changed at the prompt were overwritten, or kept in the journal as what they had been before.
#[test]
fn a_sysctl_that_was_flipped_meanwhile_makes_the_plan_stale() {
    in_namespace(|| {
        let (host, isoplan) = start();
        // From nothing: the plan has both rules and the sysctl, which somebody switches on himself.
        let ran = asked(&isoplan, &["apply", "topology.toml"], || set_forwarding(&host, "1"));
        check_stale(&ran);
        assert_eq!(state(&host), (None, ["1", "0"].map(str::to_owned)), "{ran}");

        // The plan has a rule alone, and somebody switches forwarding off.
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        rules(&host)[0].delete(&host);
        let broken = listing(&host);
        let ran = asked(&isoplan, &["apply", "topology.toml"], || set_forwarding(&host, "0"));
        check_stale(&ran);
        assert_eq!(state(&host), (broken, ["0", "0"].map(str::to_owned)), "{ran}");

        // The same for what is to be removed.
        set_forwarding(&host, "0");
        isoplan.run(&["remove", "--yes"]).ok();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let (tables, _) = state(&host);
        let ran = asked(&isoplan, &["remove"], || set_forwarding(&host, "2"));
        check_stale(&ran);
        assert_eq!(state(&host), (tables, ["2", "0"].map(str::to_owned)), "{ran}");
    });
}

/// What others do to their own tables does not make a plan stale.
#[test]
fn changes_of_others_do_not_make_the_plan_stale() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let meanwhile = || {
            host.nft_load("table ip other { chain forward { counter; }; }").expect("load a table");
            host.sysctl("net/ipv4/conf/all/rp_filter", "2").expect("write a sysctl");
        };
        let ran = asked(&isoplan, &["apply", "topology.toml"], meanwhile);
        assert_eq!(ran.code, Some(0), "{ran}");
        let plan = isoplan.run(&["plan", "topology.toml", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{plan}");
        assert_eq!(forwarding(&host), ["1", "0"]);
    });
}
