//! The integration tests.

mod sql;
mod support;
