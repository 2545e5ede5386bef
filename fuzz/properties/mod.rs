//! What must hold for any input whatever: one file a fuzz target, each with a function `hold` that panics if it does not.
//!
//! libFuzzer calls them with inputs that it makes up (`fuzz/run`); the ordinary test suite, with the seed corpus. To add a
//! target: a file here, one of the same name in `targets`, its `[[bin]]` in `Cargo.toml`, seeds in `corpus`, and a line in
//! `tests/it/fuzz.rs`.

// Each target uses one of these.
#![allow(dead_code)]

pub(crate) mod automation;
pub(crate) mod config;
pub(crate) mod dates;
pub(crate) mod page;
pub(crate) mod rate_limit;
pub(crate) mod webhook;
