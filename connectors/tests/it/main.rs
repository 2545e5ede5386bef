//! The integration tests: real systems, installed and started by the tests themselves.

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on ends its test")]

mod conformance;
mod sql;
mod support;
mod tryton;
