//! When jobs run, and who runs them.
//!
//! A job is a resource of an account. [`Plan::due`] says when it runs; a row of `jobs` says up to when its schedules are
//! seen to and which program syncs it just now ([`crate::warehouse::JobState`]), so that nothing is lost when a program
//! dies, and nothing is done twice where several share a warehouse. The [`Scheduler`] is one loop over that.

mod claim;
mod due;
mod holder;
mod retry;
mod scheduler;
mod stale;
mod tick;

pub(crate) use claim::{Claimed, delta, release, run};
pub use due::{Due, Plan, Work};
pub use holder::Holder;
pub(crate) use retry::retry_wait;
pub use scheduler::{Entry, Health, Scheduler, Turn};
pub use stale::stale_for;
pub(crate) use tick::next_tick;
