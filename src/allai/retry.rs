//! When to ask again, and after how long.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often and how soon a failed request is repeated.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The first pause is drawn from nothing to this; each further one from twice as much.
    pub base: Duration,
    /// No pause of our own choosing is longer than this.
    pub cap: Duration,
    /// A request is sent at most this often, not counting refusals for the rate limit.
    pub attempts: u32,
    /// A request is refused for the rate limit (429) at most this often.
    pub rate_limited_attempts: u32,
    /// Makes the random pauses repeatable, for simulations.
    pub seed: Option<u64>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(250),
            cap: Duration::from_secs(20),
            attempts: 8,
            rate_limited_attempts: 10,
            seed: None,
        }
    }
}

/// How long somebody waits who has other things to do.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long an answer may take, if the client does not allow less; what is not answered is not repeated. Nor is a longer
    /// `Retry-After` waited for. The wait for the budget is not counted.
    pub answer: Duration,
    /// A request is sent at most this often, if the policy does not allow less.
    pub attempts: u32,
}

/// The longest `Retry-After` that is waited for; who asks for more is asked again by the next run.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(2);

/// Draws the pauses. Full jitter, as in <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>:
/// anything from zero to the exponential bound, so that clients which failed together do not return together.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: RetryPolicy,
    random: Mutex<StdRng>,
}

impl Backoff {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        let random = Mutex::new(policy.seed.map_or_else(rand::make_rng, StdRng::seed_from_u64));
        Self { policy, random }
    }

    pub(super) const fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// The pause after the `failures`th failure in a row (1, 2, …).
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let bound = self
            .policy
            .base
            .saturating_mul(1 << failures.saturating_sub(1).min(20))
            .min(self.policy.cap);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        bound.mul_f64(random.random_range(0.0..=1.0))
    }
}

/// How long the server asks to be left alone: `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3), which is
/// read against the server's own clock. However long: see [`LONGEST_RETRY_AFTER`].
pub(super) fn retry_after(headers: &HeaderMap, server_now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()
    } else {
        let until = DateTime::parse_from_rfc2822(value).ok()?;
        Some((until.to_utc() - server_now).to_std().unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_repeat_with_the_seed() {
        let policy = RetryPolicy {
            seed: Some(7),
            ..RetryPolicy::default()
        };
        let (one, two) = (Backoff::new(policy.clone()), Backoff::new(policy));
        for failures in 1..200 {
            let pause = one.pause(failures);
            assert_eq!(pause, two.pause(failures));
            assert!(pause <= Duration::from_millis(250 << (failures - 1).min(10)).min(Duration::from_secs(20)));
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-01-19T10:00:00Z").unwrap().to_utc();
        for (value, seconds) in [
            ("7", Some(7)),
            ("Mon, 19 Jan 2026 10:00:09 GMT", Some(9)),
            ("Mon, 19 Jan 2026 09:00:00 GMT", Some(0)),
            ("999999", Some(999_999)),
            ("-1", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
