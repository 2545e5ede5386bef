//! The integration tests: one binary, real listeners, real databases.

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on ends its test")]

mod automations;
mod config;
mod contacts;
mod daemon;
mod forwarding;
mod fuzz;
mod mirror;
mod readme;
mod receiving;
mod registration;
mod sandbox;
mod server;
mod stock;
mod support;
mod warehouse;
mod webhooks;
