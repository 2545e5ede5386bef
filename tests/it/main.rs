//! The integration tests: one binary, real listeners, real databases.

mod support;
mod warehouse;
