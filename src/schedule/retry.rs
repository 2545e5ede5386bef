//! How long something waits that is tried again.

use std::time::Duration;

use chrono::TimeDelta;

/// How long something waits that was tried `attempts` times, of these `seconds` after the first, the second, …; spread, since
/// those that failed together are not to come together again.
pub(crate) fn retry_wait(attempts: u32, seconds: &[i64]) -> TimeDelta {
    let step = usize::try_from(attempts.max(1) - 1).unwrap_or(usize::MAX);
    let seconds = seconds[step.min(seconds.len() - 1)];
    let share = 0.8 + 0.4 * rand::random::<f64>();
    let wait = Duration::from_secs(seconds.unsigned_abs()).mul_f64(share);
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
}
