//! The SQL connector against real databases.

mod alike;
mod checks;
mod dialects;
mod odoo;
mod site;
