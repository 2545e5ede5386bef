//! What the tests need.

pub(crate) mod mariadb;
pub(crate) mod postgres;
mod server;
