//! Which record of a CRM each contact is, and how far a CRM's changes are read.
//!
//! What is done outside is written down before ([`Warehouse::save_links`] with [`Link::intent`]) and after. Only the program that
//! holds the lease writes: each transaction looks first whether it still does, and prolongs it.

mod lease;
mod links;

pub use lease::{Bridge, BridgeState, Claimed};
pub use links::{Candidate, Link, LinkStatus, LinkedRecord, Other, Troubled, Wanted};

use super::statement::Statement;

pub(super) const STATEMENTS: [&[Statement]; 2] = [lease::STATEMENTS, links::STATEMENTS];
