//! For Prometheus: the text format 0.0.4, as the textfile collector of node_exporter reads it.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use crate::status::Status;

/// The whole document. Labels stay the same from run to run, so that a series goes on.
pub fn text(status: &Status) -> String {
    let mut metrics = Metrics(String::new());
    let topology = status.topology.as_deref().unwrap_or_default();
    let approach = status.approach.unwrap_or_default();
    metrics.family("isoplan_info", "gauge", "What isoplan compared this host with; always 1.");
    let version = env!("CARGO_PKG_VERSION");
    metrics.sample(
        "isoplan_info",
        &[("version", version), ("topology", topology), ("approach", approach)],
        1,
    );
    metrics.family(
        "isoplan_in_place",
        "gauge",
        "1 when nothing differs from the topology; without a topology, when anything of isoplan is there.",
    );
    metrics.sample("isoplan_in_place", &[], u64::from(status.in_place));
    if let Some(differences) = status.differences {
        metrics.family("isoplan_differences", "gauge", "How many changes isoplan plan would list.");
        metrics.sample("isoplan_differences", &[], differences as u64);
    }
    metrics.family("isoplan_pending_confirmation", "gauge", "1 while a change waits to be confirmed.");
    metrics.sample("isoplan_pending_confirmation", &[], u64::from(status.pending.is_some()));
    metrics.family(
        "isoplan_pending_confirmation_seconds",
        "gauge",
        "How long a change still waits to be confirmed; 0 when none waits, or it is overdue.",
    );
    let left = status.pending.as_ref().map_or(0, |pending| pending.seconds_left);
    metrics.sample("isoplan_pending_confirmation_seconds", &[], left);
    metrics.family(
        "isoplan_pending_confirmation_overdue",
        "gauge",
        "1 while a change should have been undone, and nothing is undoing it.",
    );
    let overdue = status.pending.as_ref().is_some_and(|pending| pending.overdue);
    metrics.sample("isoplan_pending_confirmation_overdue", &[], u64::from(overdue));
    metrics.family("isoplan_watch_running", "gauge", "1 while an isoplan watch runs here that repairs.");
    metrics.sample("isoplan_watch_running", &[], u64::from(status.watch));
    let counters = [
        (
            "isoplan_drops_packets_total",
            "Packets that a rule has dropped; it starts again at 0 when the table is replaced.",
        ),
        ("isoplan_drops_bytes_total", "The same in bytes."),
    ];
    for (index, (name, help)) in counters.into_iter().enumerate().filter(|_| !status.drops.is_empty()) {
        metrics.family(name, "counter", help);
        for drop in &status.drops {
            let labels = [
                ("table", drop.table.as_str()),
                ("chain", &drop.chain),
                ("rule", &drop.rule),
                ("from", drop.from.as_deref().unwrap_or_default()),
                ("to", drop.to.as_deref().unwrap_or_default()),
            ];
            metrics.sample(name, &labels, if index == 0 { drop.packets } else { drop.bytes });
        }
    }
    if status.topology.is_some() {
        metrics.family("isoplan_risks", "gauge", "How many residual risks there are.");
        metrics.sample("isoplan_risks", &[], status.risks.len() as u64);
    }
    if !status.risks.is_empty() {
        metrics.family("isoplan_risk", "gauge", "A residual risk that was found on this host; always 1.");
        for risk in &status.risks {
            let labels = [
                ("name", risk.name.as_str()),
                ("severity", risk.severity.as_str()),
                ("subject", &risk.subject),
            ];
            metrics.sample("isoplan_risk", &labels, 1);
        }
    }
    metrics.family(
        "isoplan_unseen",
        "gauge",
        "How many things could not be looked at; isoplan status names them.",
    );
    metrics.sample("isoplan_unseen", &[], status.unseen.len() as u64);
    metrics.0
}

struct Metrics(String);

impl Metrics {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

/// A label's value: backslash, quote and line feed are escaped, and nothing else.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut metrics = Metrics(String::new());
        metrics.sample("m", &[("a", "x\\\"\ny"), ("b", "")], 3);
        assert_eq!(metrics.0, "m{a=\"x\\\\\\\"\\ny\",b=\"\"} 3\n");
    }
}
