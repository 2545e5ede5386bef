//! What automations need to be kept: what happened that rules may be about, what they did about it, and each step of that.

mod facts;
mod runs;
mod standing;
mod steps;
mod triggers;

pub use runs::{ClaimedRun, NewRun, RunEnd, RunFilter, RunRow, RunState, RunVolume};
pub use standing::RunsSummary;
pub use steps::{StepRow, StepState};
pub use triggers::{Interest, Subject, Trigger};

pub(super) use triggers::{Interests, note_in};

use super::statement::Statement;

pub(super) const STATEMENTS: &[&[Statement]] = &[
    facts::STATEMENTS,
    triggers::STATEMENTS,
    runs::STATEMENTS,
    standing::STATEMENTS,
    steps::STATEMENTS,
];
