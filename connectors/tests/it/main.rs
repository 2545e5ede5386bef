//! The integration tests: one binary, real servers.

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on ends its test")]

mod sql;
mod support;
