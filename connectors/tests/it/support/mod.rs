//! What the tests run against.

pub(crate) mod mariadb;
pub(crate) mod postgres;
mod server;
pub(crate) mod tryton;
