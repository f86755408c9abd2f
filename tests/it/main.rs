//! Tests of the program as a whole: one binary, one module per subject.
