//! A verification as JUnit XML, for CI: a suite for each question, a case for each probe.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::comparison::{clause, sighting};
use crate::verify::report::{LeakJson, ProbeJson, ResultJson, VerificationJson};

/// The whole document.
///
/// A leak, or something broken, is a failure; what could not be tested is an error; what shows nothing and what
/// is not judged is skipped.
///
/// # Errors
///
/// None that input can bring about.
pub fn file(verification: &VerificationJson<'_>) -> Result<String, SerializeError> {
    let approach = verification.result.approach;
    let mut suites: Vec<TestSuite> = Vec::new();
    for probe in &verification.probes {
        let Some(result) = probe.results.iter().find(|result| result.approach == approach) else { continue };
        let leak = verification.leaks.iter().find(|leak| leak.probe == probe.probe);
        let mut case = TestCase::new(probe.probe, status(probe, result, leak));
        case.set_classname(format!("isoplan.{approach}.{}", probe.question));
        match suites.iter_mut().find(|suite| suite.name.as_str() == probe.question) {
            Some(suite) => {
                suite.add_test_case(case);
            }
            None => {
                let mut suite = TestSuite::new(&probe.question);
                suite.add_test_case(case);
                suites.push(suite);
            }
        }
    }
    let mut report = Report::new(format!("isoplan verify {} ({approach})", verification.topology));
    report.add_test_suites(suites);
    report.to_string()
}

fn status(probe: &ProbeJson<'_>, result: &ResultJson<'_>, leak: Option<&LeakJson<'_>>) -> TestCaseStatus {
    match result.verdict {
        "held" | "works" => TestCaseStatus::success(),
        "leak" | "broken" => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(result.verdict);
            let must = if result.verdict == "leak" { "blocked" } else { probe.expected };
            status.set_message(format!("{}: must be {must}, and was {}", probe.pair, result.outcome));
            status.set_description(evidence(probe, result, leak));
            status
        }
        "could-not-test" => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("could-not-test");
            // Where the probe itself was seen to be blocked, the same without rules is what is not known.
            let why = result.why.unwrap_or("what it does without rules is not known");
            status.set_message(clause(why));
            status
        }
        other => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(match other {
                "vacuous" => "blocked without any rules as well: it shows nothing",
                "residual" => "no rule of this host stops it: not judged",
                _ => "not judged",
            });
            status
        }
    }
}

fn evidence(probe: &ProbeJson<'_>, result: &ResultJson<'_>, leak: Option<&LeakJson<'_>>) -> String {
    let mut lines = vec![probe.threat.to_owned(), format!("sent {}", result.sent)];
    lines.extend(result.seen.iter().map(|seen| format!("seen {}", sighting(seen, result.as_host))));
    lines.extend(result.decided_by.iter().cloned());
    lines.extend(leak.and_then(|leak| leak.again.clone()));
    lines.join("\n")
}
