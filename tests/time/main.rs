//! The whole daemon, real but for its clock: months in seconds.
//!
//! A program of its own, so that what it measures of itself is the daemon's: the tests run one after the other.

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on ends its test")]

#[path = "../it/support/clock.rs"]
mod clock;
#[path = "../it/support/comparison.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use all of it")]
mod comparison;
#[path = "../it/support/database.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use all of it")]
mod database;
mod day;
#[path = "../it/support/json.rs"]
mod json;
mod months;
#[path = "../it/support/postgres.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use all of it")]
mod postgres;
mod world;

use tokio::sync::Mutex;

/// Held by the test that runs.
static TURN: Mutex<()> = Mutex::const_new(());
