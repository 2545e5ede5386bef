//! The harness.

pub(crate) mod postgres;
