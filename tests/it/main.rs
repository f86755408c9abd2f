//! Tests of the program as a whole: one binary, one module per subject.

#![expect(clippy::print_stderr, reason = "a test tells why it skips or what a program said")]

#[path = "../lab/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the demo and the tests each use a part of it")]
mod lab;

/// The program under test.
#[expect(dead_code, reason = "the modules that run it are on their way")]
const ISOPLAN: &str = env!("CARGO_BIN_EXE_isoplan");
