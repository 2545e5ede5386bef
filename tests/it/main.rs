//! The integration tests: one binary, real listeners, real databases.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]

mod support;
mod warehouse;
