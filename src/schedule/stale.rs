//! When a mirror counts as stale: one judgement, for whoever shows it and whoever tells of it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Plan;
use crate::warehouse::JobState;

/// Where no schedule is known, what is older is stale: a day, and the time a night's work takes.
const WITHOUT_SCHEDULE: TimeDelta = TimeDelta::hours(26);
/// A first or full run may take its time; one that takes longer is not worth waiting for.
const LONGEST_RUN: TimeDelta = TimeDelta::hours(24);

/// How long ago a resource was last synced completely, or its job made if it never was, if that is too long: longer than
/// its schedule leaves it alone and `stale_after` beside. What is under way is not stale yet.
///
/// Where no schedule is known, nothing is expected of what was never synced.
pub fn stale_for(
    plan: Option<&Plan>,
    job: Option<&JobState>,
    last_complete_at: Option<DateTime<Utc>>,
    stale_after: Duration,
    now: DateTime<Utc>,
) -> Option<TimeDelta> {
    let held = job.and_then(|job| job.held.as_ref());
    if held.is_some_and(|held| now - held.since < LONGEST_RUN) {
        return None;
    }
    let (last, allowed) = match plan {
        Some(plan) => {
            let last = last_complete_at.or(job.map(|job| job.created_at))?;
            let stale_after = TimeDelta::from_std(stale_after).ok()?;
            (last, plan.interval(last).checked_add(&stale_after)?)
        }
        None => (last_complete_at?, WITHOUT_SCHEDULE),
    };
    let age = now - last;
    (age > allowed).then_some(age)
}
