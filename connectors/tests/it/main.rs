//! The integration tests: real systems, installed and started by the tests themselves; hosted ones are played by fakes that keep
//! to what is documented of them, and block as they do.

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on ends its test")]

mod conformance;
mod files;
mod hubspot;
mod oblio;
mod odoo;
mod odoo19;
mod pipedrive;
mod rest;
mod smartbill;
mod sql;
mod support;
mod tryton;
