//! The SQL connector against real databases.

mod alike;
mod checks;
mod conforming;
mod dialects;
mod odoo;
mod site;
