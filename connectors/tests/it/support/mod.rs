//! What the tests run against.

pub(crate) mod fake;
pub(crate) mod lossy;
pub(crate) mod mariadb;
pub(crate) mod oblio;
pub(crate) mod odoo;
pub(crate) mod odoo19;
pub(crate) mod postgres;
mod server;
pub(crate) mod smartbill;
pub(crate) mod tryton;
pub(crate) mod words;
