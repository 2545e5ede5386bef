//! What the tests run against.

pub(crate) mod fake;
pub(crate) mod hubspot;
pub(crate) mod lossy;
pub(crate) mod mariadb;
pub(crate) mod nextup;
pub(crate) mod nexus;
pub(crate) mod oblio;
pub(crate) mod odoo;
pub(crate) mod odoo19;
pub(crate) mod pipedrive;
pub(crate) mod postgres;
pub(crate) mod rest;
mod server;
pub(crate) mod smartbill;
pub(crate) mod tryton;
pub(crate) mod words;

/// What installs Tryton.
const TRYTON_INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tryton/install");
