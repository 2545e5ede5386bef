//! Scenarios that failed once, as simple as they could be made. They run before anything else, for ever.
//!
//! To add one: paste the literal that a failing seed prints, with a name that says what went wrong.

use crate::scenario::Scenario;

/// Each with what it once broke.
pub(crate) fn all() -> Vec<(&'static str, Scenario)> {
    Vec::new()
}
