//! Where it is measured, and with which versions of what.

use std::fs;
use std::process::Command;

use super::Result;
use super::lab::isolate;
use super::measure::Bench;

/// What the sections run, and the Debian package that it is in.
const NEEDED: [(&str, &str); 4] = [
    ("nft", "nftables"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("ip", "iproute2"),
];

/// That everything is there which the sections run: better now than after ten minutes.
pub(crate) fn check() -> Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|(program, _)| !isolate::has_program(program)).collect();
    let [(program, package), ..] = missing.as_slice() else { return Ok(()) };
    let hint = "`make install-deps` installs what is missing on Debian";
    Err(format!("there is no `{program}` on the path (package {package})\n\nhint: {hint}").into())
}

/// Notes it.
pub(crate) fn note(bench: &mut Bench) -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    bench.note("kernel", read("/proc/sys/kernel/osrelease")?);
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpus = read("/proc/cpuinfo")?;
    // Some architectures have no name for their processors.
    bench.note("cpu", field(&cpus, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()));
    bench.note("cores", std::thread::available_parallelism()?.to_string());
    let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let kibibytes: f64 = memory.split_whitespace().next().unwrap_or_default().parse().unwrap_or_default();
    bench.note("memory", format!("{:.1} GiB", kibibytes / 1_048_576.0));
    if cpus.split_whitespace().any(|word| word == "hypervisor") {
        bench.note("virtual", "a virtual machine");
    }
    if let Ok(governor) = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        bench.note("governor", governor);
    }
    bench.note("load", read("/proc/loadavg")?.split_whitespace().next().unwrap_or_default());
    bench.note("date", said("date", &["--utc", "+%Y-%m-%d"]));
    bench.note("nft", said("nft", &["--version"]));
    bench.note("iptables", said("iptables-restore", &["--version"]));
    bench.note("iproute2", said("ip", &["-V"]));
    bench.note("rustc", said("rustc", &["--version"]));
    let isoplan = bench.isoplan()?.run(&["--version"]).ok();
    bench.note("isoplan", isoplan.trim());
    Ok(())
}

/// The first line of what a program prints; empty where it cannot be run.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
