//! Installing into a root file system: what is written, what is left alone, and what is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;

use crate::ISOPLAN;
use crate::docs::check_json;
use crate::kill::Random;
use crate::lab::{HostSpec, Ran};

/// How often isoplan is killed.
const KILLS: u32 = 200;

/// An image with nothing but what says that it has systemd.
struct Image {
    directory: tempfile::TempDir,
}

/// What is in a place: the text of a file or the target of a link, and the mode.
type Files = BTreeMap<String, (String, u32)>;

impl Image {
    fn new() -> Self {
        let image = Self { directory: tempfile::tempdir().expect("make a directory") };
        image.write("root/usr/lib/systemd/systemd", "");
        image.write("root/usr/lib/systemd/systemd-sysctl", "");
        image.write("root/usr/sbin/isoplan", "");
        image.write("root/etc/hostname", "image\n");
        let topology = HostSpec::service_instance().topology();
        image.write("a.toml", &topology);
        image.write("b.toml", &HostSpec::three_nics().topology());
        let by_sysctl = topology.replace("masquerade = true", "masquerade = false");
        image.write("sysctl.toml", &format!("{by_sysctl}approach = \"sysctl\"\n"));
        image
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, text).expect("write a file");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ISOPLAN);
        command.args(arguments).args(["--root", "root"]);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("run isoplan");
        Ran {
            command: arguments.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn install(&self, topology: &str, more: &[&str]) -> Ran {
        self.run(&[&["install", topology, "--yes", "--exec-path", "/usr/sbin/isoplan"], more].concat())
    }

    fn uninstall(&self) -> Ran {
        self.run(&["uninstall", "--yes"])
    }

    /// Everything below the root, directories with a slash at the end.
    fn files(&self) -> Files {
        let mut found = Files::new();
        let mut left = vec![self.root()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).expect("list a directory").flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.root()).expect("below the root").display().to_string();
                let metadata = path.symlink_metadata().expect("look at a file");
                let mode = metadata.mode() & 0o7777;
                if metadata.is_dir() {
                    found.insert(format!("{name}/"), (String::new(), mode));
                    left.push(path);
                } else if metadata.is_symlink() {
                    let target = fs::read_link(&path).expect("read a link");
                    found.insert(name, (target.display().to_string(), 0));
                } else {
                    found.insert(name, (fs::read_to_string(&path).expect("read a file"), mode));
                }
            }
        }
        found
    }

    /// The output of a tool of systemd that looks at the image.
    fn tool(&self, program: &str, arguments: &[&str]) -> Option<(bool, String)> {
        let root = format!("--root={}", self.root().display());
        let output = Command::new(program).arg(root).args(arguments).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }
}

#[test]
fn what_is_installed_is_taken_away_exactly() {
    let image = Image::new();
    let before = image.files();
    for topology in ["a.toml", "b.toml", "sysctl.toml"] {
        for more in [
            &[][..],
            &["--no-watch"],
            &["--require-for", "docker.service", "--require-for", "podman.service"],
        ] {
            image.install(topology, more).ok();
            let files = image.files();
            assert_eq!(
                files["etc/isoplan/topology.toml"].0,
                fs::read_to_string(image.path(topology)).expect("read")
            );
            let watch =
                files.contains_key("etc/systemd/system/multi-user.target.wants/isoplan-watch.service");
            assert_eq!(watch, !more.contains(&"--no-watch"));
            assert_eq!(files.contains_key("etc/sysctl.d/99-zz-isoplan.conf"), topology == "sysctl.toml");
            for (name, (_, mode)) in files.iter().filter(|(name, _)| !before.contains_key(*name)) {
                let expected = if name.ends_with('/') { 0o755 } else { 0o644 };
                assert!([expected, 0].contains(mode), "{name} has mode {mode:o}");
            }
            // Once more, and nothing is to be done.
            let again = image.install(topology, more).ok();
            assert!(!again.lines().any(|line| line.starts_with(['+', '~', '-'])), "{again}");
            assert_eq!(image.files(), files);
        }
        image.uninstall().ok();
        assert_eq!(image.files(), before);
    }
    assert!(image.uninstall().ok().contains("Nothing is installed"));
}

/// A dependency that is left out is taken back, and somebody who does not read the list is told what that means.
#[test]
fn a_dependency_that_goes_is_told() {
    let image = Image::new();
    let told = "docker.service will start without isolation";
    let first = image.install("a.toml", &["--require-for", "docker.service"]);
    assert!(!first.stderr.contains(told), "{first}");
    let link = "etc/systemd/system/docker.service.requires/isoplan.service";
    assert!(image.files().contains_key(link));
    let second = image.install("a.toml", &[]);
    assert!(
        second.stderr.contains(told) && second.stderr.contains("--require-for docker.service"),
        "{second}"
    );
    assert!(!image.files().contains_key(link));
    let third = image.install("a.toml", &[]);
    assert!(!third.stderr.contains(told), "{third}");
}

#[test]
fn a_mask_of_the_shell_changes_nothing() {
    let image = Image::new();
    let mut command = Command::new("sh");
    let run = "umask 077; exec \"$0\" install a.toml --yes --root root --exec-path /usr/sbin/isoplan";
    let status =
        command.args(["-c", run, ISOPLAN]).current_dir(image.directory.path()).output().expect("run");
    assert!(status.status.success());
    let files = image.files();
    assert_eq!(files["etc/isoplan/"].1, 0o755);
    assert_eq!(files["etc/isoplan/topology.toml"].1, 0o644);
    assert_eq!(files["etc/systemd/system/isoplan.service"].1, 0o644);
}

/// An image with what units name: systemd-analyze looks for programs and units on the root that it is given.
fn image_for_systemd() -> Image {
    let image = Image::new();
    for program in ["root/usr/sbin/isoplan", "root/usr/lib/systemd/systemd-sysctl", "root/usr/sbin/nft"] {
        image.write(program, "");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(image.path(program), executable).expect("make it executable");
    }
    let units = Path::new("/lib/systemd/system");
    for unit in fs::read_dir(units).into_iter().flatten().flatten() {
        let (path, name) = (unit.path(), unit.file_name().to_string_lossy().into_owned());
        if path.is_file() && !path.is_symlink() {
            let text = fs::read_to_string(&path).unwrap_or_default();
            image.write(&format!("root/lib/systemd/system/{name}"), &text);
        }
    }
    image
}

/// The service and the timer that docs/operate.md has for metrics, as they are there.
#[test]
fn the_units_of_the_docs_are_valid() {
    let image = image_for_systemd();
    let blocks = include_str!("../../docs/operate.md").split("```ini\n").skip(1);
    let mut units = Vec::new();
    for block in blocks {
        let (text, _) = block.split_once("```").expect("the block ends");
        let path = text.lines().next().and_then(|line| line.strip_prefix("# /")).expect("a path");
        image.write(&format!("root/{path}"), text);
        units.push(path.rsplit('/').next().expect("a name").to_owned());
        if path.ends_with(".service") {
            assert!(text.contains("\nSuccessExitStatus=2\n"), "{text}");
        }
    }
    assert_eq!(units, ["isoplan-metrics.service", "isoplan-metrics.timer"]);
    let order = ["verify", "isoplan-metrics.service", "isoplan-metrics.timer"];
    let Some((_, said)) = image.tool("systemd-analyze", &order) else {
        eprintln!("skipped: no systemd-analyze");
        return;
    };
    assert!(!said.contains("isoplan"), "{said}");
    // It would have told.
    image.write(
        "root/etc/systemd/system/isoplan-metrics.service.d/x.conf",
        "[Service]\nSuccessExitStatus=two\n",
    );
    let (_, said) = image.tool("systemd-analyze", &order).expect("run systemd-analyze");
    assert!(said.contains("isoplan-metrics.service.d/x.conf"), "{said}");
}

/// systemd takes every line of the units, and their order has no cycle.
#[test]
fn the_units_are_valid() {
    for topology in ["a.toml", "sysctl.toml"] {
        let image = image_for_systemd();
        let required = ["--require-for", "docker.service"];
        image.install(topology, &required).ok();
        let order = ["verify", "sysinit.target", "multi-user.target", "isoplan.service"];
        let Some((_, said)) = image.tool("systemd-analyze", &order) else {
            eprintln!("skipped: no systemd-analyze");
            return;
        };
        let ours: Vec<&str> =
            said.lines().filter(|line| line.contains("isoplan") || line.contains("cycle")).collect();
        assert!(ours.is_empty(), "{topology}: {ours:#?}");
        // It would have told.
        image.write(
            "root/etc/systemd/system/isoplan.service.d/x.conf",
            "[Unit]\nAfter=network-pre.target\nFoo=1\n",
        );
        let (_, said) = image.tool("systemd-analyze", &order).expect("run systemd-analyze");
        assert!(said.contains("cycle") && said.contains("'Foo'"), "{said}");
    }
}

/// What systemd's own tools say about an image.
#[test]
fn systemd_agrees() {
    let image = Image::new();
    image.install("a.toml", &["--require-for", "docker.service"]).ok();
    let Some((_, said)) =
        image.tool("systemctl", &["is-enabled", "isoplan.service", "isoplan-watch.service"])
    else {
        eprintln!("skipped: no systemctl");
        return;
    };
    assert_eq!(said, "enabled\nenabled\n");
    // Disabling and enabling takes away the same links and makes the same again, but for how they are written.
    let links = |image: &Image| -> Vec<String> {
        let files = image.files();
        files.keys().filter(|name| name.contains("wants/i") || name.contains("requires/i")).cloned().collect()
    };
    let made = links(&image);
    assert_eq!(made.len(), 3, "{made:?}");
    let units = ["isoplan.service", "isoplan-watch.service"];
    image.tool("systemctl", &[&["disable"], &units[..]].concat()).expect("run systemctl");
    assert_eq!(links(&image), Vec::<String>::new());
    image.tool("systemctl", &[&["enable"], &units[..]].concat()).expect("run systemctl");
    assert_eq!(links(&image), made);
    image.uninstall().ok();
    assert_eq!(links(&image), Vec::<String>::new());
}

#[test]
fn what_somebody_edited_is_kept() {
    let image = Image::new();
    let unit = "root/etc/systemd/system/isoplan.service";
    // A unit that is masked.
    fs::create_dir_all(image.path("root/etc/systemd/system")).expect("make a directory");
    symlink("/dev/null", image.path(unit)).expect("make a link");
    let before = image.files();
    let refused = image.install("a.toml", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("isoplan.service is masked"), "{refused}");
    assert_eq!(image.files(), before);
    fs::remove_file(image.path(unit)).expect("remove the link");

    image.install("a.toml", &[]).ok();
    image.write(unit, "# mine\n");
    let installed = image.files();
    let refused = image.install("b.toml", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert_eq!(image.files(), installed, "all or nothing");
    image.install("b.toml", &["--force"]).ok();
    assert_ne!(image.files()["etc/systemd/system/isoplan.service"].0, "# mine\n");

    image.write(unit, "# mine\n");
    let left = image.uninstall();
    assert!(left.clone().ok().contains("--force"), "{left}");
    let files = image.files();
    assert_eq!(files["etc/systemd/system/isoplan.service"].0, "# mine\n");
    assert!(!files.contains_key("etc/isoplan/topology.toml"), "all else is gone");
    // It is still known to be in isoplan's place.
    image.run(&["uninstall", "--yes", "--force"]).ok();
    assert!(!image.files().keys().any(|name| name.contains("isoplan") && !name.starts_with("usr/")));
}

/// Links in an image are followed as if it were the root, and never out of it.
#[test]
fn no_link_leads_out_of_the_root() {
    let image = Image::new();
    let outside = image.path("outside");
    fs::create_dir(&outside).expect("make a directory");
    // An absolute link is one within the image.
    fs::create_dir_all(image.path("root/usr/share/units")).expect("make a directory");
    fs::create_dir_all(image.path("root/etc/systemd")).expect("make a directory");
    symlink("/usr/share/units", image.path("root/etc/systemd/system")).expect("make a link");
    image.install("a.toml", &[]).ok();
    assert!(image.path("root/usr/share/units/isoplan.service").is_file());
    image.uninstall().ok();
    assert!(!image.path("root/usr/share/units/isoplan.service").exists());

    // One that would lead out ends at the root.
    for target in [outside.display().to_string(), "../../../outside".to_owned()] {
        fs::remove_file(image.path("root/etc/systemd/system")).expect("remove the link");
        symlink(&target, image.path("root/etc/systemd/system")).expect("make a link");
        let ran = image.install("a.toml", &[]);
        assert_eq!(fs::read_dir(&outside).expect("list").count(), 0, "{target}: {ran}");
        assert_eq!(ran.code, Some(1), "{target}: {ran}");
        image.uninstall().ok();
    }
    // And a file in the place of a file of isoplan's is not written through.
    fs::remove_file(image.path("root/etc/systemd/system")).expect("remove the link");
    image.write("outside/file", "theirs\n");
    fs::create_dir_all(image.path("root/etc/isoplan")).expect("make a directory");
    symlink(outside.join("file"), image.path("root/etc/isoplan/topology.toml")).expect("make a link");
    assert_eq!(image.install("a.toml", &[]).code, Some(1));
    image.install("a.toml", &["--force"]).ok();
    assert_eq!(fs::read_to_string(outside.join("file")).expect("read"), "theirs\n");
    assert!(image.path("root/etc/isoplan/topology.toml").symlink_metadata().expect("look").is_file());
}

#[test]
fn a_manifest_that_is_not_understood_is_not_gone_by() {
    let image = Image::new();
    image.install("a.toml", &[]).ok();
    let manifest = "root/etc/isoplan/installed.json";
    let text = fs::read_to_string(image.path(manifest)).expect("read");
    for wrong in [
        text.replace("\"version\": 1", "\"version\": 2"),
        text.replace("etc/isoplan/topology.toml", "etc/hostname"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        image.write(manifest, &wrong);
        let before = image.files();
        for arguments in [&["uninstall", "--yes"][..], &["uninstall", "--yes", "--force"]] {
            let ran = image.run(arguments);
            assert_eq!(ran.code, Some(1), "{ran}");
            assert!(ran.stderr.contains("installed.json"), "{ran}");
        }
        assert_eq!(image.install("b.toml", &[]).code, Some(1));
        assert_eq!(image.files(), before);
    }
}

#[test]
fn where_the_program_does_not_stay_is_said() {
    let image = Image::new();
    let ran = image.run(&["install", "a.toml", "--yes", "--exec-path", "/home/ann/isoplan"]);
    assert_eq!(ran.code, Some(64), "{ran}");
    let ran = image.run(&["install", "a.toml", "--yes", "--exec-path", "isoplan"]);
    assert_eq!(ran.code, Some(64), "{ran}");
    // This one is in a build directory.
    let ran = image.run(&["install", "a.toml", "--yes"]);
    assert_eq!(ran.code, Some(64), "{ran}");
    assert!(ran.stderr.contains("--exec-path"), "{ran}");
    let ran = image.install("a.toml", &["--require-for", "docker"]);
    assert_eq!(ran.code, Some(64), "{ran}");
}

#[test]
fn without_systemd_nothing_is_written() {
    let image = Image::new();
    fs::remove_dir_all(image.path("root/usr/lib")).expect("remove systemd");
    let before = image.files();
    let ran = image.install("a.toml", &[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    for word in ["if-pre-up.d", "openrc-run", "runit", "@reboot", "/usr/sbin/isoplan apply"] {
        assert!(ran.stdout.contains(word), "{word}: {ran}");
    }
    assert_eq!(image.files(), before);
}

#[test]
fn a_dry_run_shows_every_file_and_writes_none() {
    let image = Image::new();
    let before = image.files();
    let shown = image.run(&["install", "a.toml", "--dry-run", "--exec-path", "/usr/sbin/isoplan"]).ok();
    assert_eq!(image.files(), before);
    image.install("a.toml", &[]).ok();
    for (name, (text, _)) in image.files() {
        if before.contains_key(&name) || name.ends_with('/') || name.ends_with("installed.json") {
            continue;
        }
        assert!(shown.contains(&name), "{name}");
        for line in text.lines() {
            assert!(shown.contains(line), "{name}: {line}");
        }
    }
    let shown = image.run(&["install", "b.toml", "--dry-run", "--exec-path", "/usr/sbin/isoplan"]).ok();
    assert!(shown.contains("+ name = \"eth2\""), "{shown}");
}

/// The question is below a list that fits on a screen, and long files do not push it away.
#[test]
fn the_question_is_below_a_short_list() {
    let image = Image::new();
    let ask = |more: &[&str]| {
        let terminal = openpty(None, None).expect("open a terminal");
        let mut master = fs::File::from(terminal.master);
        master.write_all(b"n\n").expect("type");
        let arguments = ["install", "a.toml", "--exec-path", "/usr/sbin/isoplan"];
        let mut command = image.command(&[&arguments, more].concat());
        let output = command.stdin(terminal.slave).output().expect("run isoplan");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).expect("text")
    };
    let before = image.files();
    let shown = ask(&[]);
    let (listing, list) = shown.split_once("In short:\n").expect("a list");
    assert!(listing.contains(" lines more (--all shows them)"), "{listing}");
    let marked = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with(['+', '~', '-']));
        lines.map(|line| line.split("  ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(marked(listing), marked(list));
    assert_eq!(marked(list).len(), list.lines().count(), "{list}");
    let all = ask(&["--all"]);
    assert!(!all.contains("lines more") && all.len() > shown.len(), "{all}");
    assert_eq!(image.files(), before);
}

/// Runs isoplan and kills it after that long. Whether it was still there to be killed.
fn run_and_kill(image: &Image, arguments: &[&str], after: Duration) -> bool {
    let started = Instant::now();
    let mut child =
        image.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start isoplan");
    while started.elapsed() < after {
        std::hint::spin_loop();
    }
    let was_running = child.try_wait().expect("look after isoplan").is_none();
    child.kill().expect("kill isoplan");
    child.wait().expect("wait for isoplan");
    was_running
}

/// What a machine that boots from this would do: everything that is enabled is whole, and there is what it reads.
fn check_boots(files: &Files, whole: &[Files], context: &str) {
    for (name, (text, _)) in files {
        let is_read =
            ["etc/systemd/system/", "etc/sysctl.d/", "etc/udev/rules.d/", "etc/isoplan/topology.toml"]
                .iter()
                .any(|start| name.starts_with(start));
        // Hidden files are read by nobody.
        if !is_read
            || name.ends_with('/')
            || name.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
        {
            continue;
        }
        let is_whole = whole.iter().any(|files| files.get(name).is_some_and(|(other, _)| other == text));
        assert!(is_whole, "{context}: {name} is of no installation:\n{text}");
        // What is enabled, and what runs isoplan, comes after what it needs.
        if name.contains(".wants/") || name.contains(".requires/") {
            assert!(files.contains_key(text.trim_start_matches('/')), "{context}: {name} leads nowhere");
        }
        if text.contains("/etc/isoplan/topology.toml") {
            assert!(files.contains_key("etc/isoplan/topology.toml"), "{context}: {name} without a topology");
        }
        if text.contains("/etc/sysctl.d/99-zz-isoplan.conf") {
            assert!(
                files.contains_key("etc/sysctl.d/99-zz-isoplan.conf"),
                "{context}: {name} without its sysctls"
            );
        }
    }
}

#[test]
fn killed_at_any_moment_it_boots_and_can_be_finished() {
    const COMMON: [&str; 4] = ["--yes", "--exec-path", "/usr/sbin/isoplan", "--force"];
    let image = Image::new();
    let before = image.files();
    let runs: Vec<Vec<&str>> = vec![
        vec!["uninstall", "--yes"],
        [&["install", "a.toml"][..], &COMMON].concat(),
        [&["install", "b.toml", "--no-watch"][..], &COMMON].concat(),
        [&["install", "sysctl.toml", "--require-for", "docker.service"][..], &COMMON].concat(),
    ];
    let mut whole = Vec::new();
    let mut limit = Duration::from_millis(50);
    for run in &runs {
        let started = Instant::now();
        image.run(run).ok();
        limit = limit.max(started.elapsed());
        whole.push(image.files());
    }
    image.uninstall().ok();
    assert_eq!(image.files(), before);

    let mut random = Random::from_environment();
    let (mut kills, mut tries, mut unfinished) = (0_u32, 0_u32, 0_u32);
    // Until kills came in the middle often enough, however busy the machine is.
    while kills < KILLS || unfinished <= 20 {
        let which = usize::try_from(random.next() % 4).expect("a small number");
        let after = random.up_to(limit);
        let was_running = run_and_kill(&image, &runs[which], after);
        tries += 1;
        kills += u32::from(was_running);
        limit = limit.mul_f64(if was_running { 1.02 } else { 0.9 });
        let files = image.files();
        let context = format!("{:?}, killed after {after:?}", runs[which]);
        check_boots(&files, &whole, &context);
        if !whole.contains(&files) {
            unfinished += 1;
            // Half of them are finished, each by a run of its own choice; on the others the next kill comes.
            if random.next().is_multiple_of(2) {
                let finish = usize::try_from(random.next() % 4).expect("a small number");
                image.run(&runs[finish]).ok();
                let files = image.files();
                let differs = |name: &&String| files.get(*name) != whole[finish].get(*name);
                let names: Vec<_> = files.keys().chain(whole[finish].keys()).filter(differs).collect();
                assert!(names.is_empty(), "{context}, then {:?}: {names:?} differ", runs[finish]);
            }
        }
    }
    eprintln!("{tries} runs, {kills} killed: {unfinished} times in the middle");
    image.uninstall().ok();
    assert_eq!(image.files(), before);
}

/// docs/operate.md has what `systemd-analyze security` says of each unit.
#[test]
fn the_security_of_the_units_is_what_the_docs_say() {
    let image = Image::new();
    image.install("a.toml", &[]).ok();
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate.md")).expect("read");
    for unit in ["isoplan.service", "isoplan-watch.service"] {
        let path = image.path("root/etc/systemd/system").join(unit).display().to_string();
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &path])
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: no systemd-analyze");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let overall = text.lines().find_map(|line| line.split_once("Overall exposure level for "));
        let (_, overall) = overall.unwrap_or_else(|| panic!("no level: {text}"));
        let level =
            overall.split_once(": ").map_or("", |(_, level)| level.split(' ').next().unwrap_or_default());
        let said = format!("{unit}: {level}");
        assert!(document.contains(&said), "docs/operate.md does not say `{said}`");
        assert!(level.parse::<f64>().is_ok_and(|level| level < 2.5), "{said}");
    }
}

#[test]
fn every_field_of_its_json_is_described() {
    let image = Image::new();
    let common = ["--json", "--exec-path", "/usr/sbin/isoplan"];
    let json = |arguments: &[&str]| image.run(&[arguments, &["--json"]].concat()).json();
    let install = |arguments: &[&str]| image.run(&[&["install"], arguments, &common].concat()).json();
    let shown = install(&["a.toml", "--dry-run"]);
    assert_eq!(shown["done"], false);
    let made = install(&["a.toml", "--yes"]);
    assert_eq!((&made["done"], &made["files"]), (&true.into(), &shown["files"]));
    image.write("root/etc/systemd/system/isoplan.service", "# mine\n");
    let changed = install(&["sysctl.toml", "--yes", "--force", "--no-watch"]);
    let actions: Vec<_> =
        changed["files"].as_array().expect("files").iter().map(|file| &file["action"]).collect();
    for action in ["create", "change", "keep", "remove", "force"] {
        assert!(actions.contains(&&action.into()), "{action}: {actions:?}");
    }
    check_json("isoplan install --json", "install", &[shown, made, changed], &[]);
    image.write("root/etc/systemd/system/isoplan.service", "# mine\n");
    let edited = json(&["uninstall", "--yes"]);
    assert_eq!(edited["done"], false);
    let gone = json(&["uninstall", "--yes", "--force"]);
    assert_eq!(gone["done"], true);
    check_json("isoplan uninstall --json", "uninstall", &[edited, gone], &["isoplan install --json"]);
}
