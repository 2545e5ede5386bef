//! The local ceiling, kept by governor: what bounds the rate when the server does not, or when the plan is lower.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::Limits;
use crate::clock::{Monotonic, SharedClock};

/// What a limit without a stated window is per: the guide's limits are per minute.
const MINUTE: Duration = Duration::from_mins(1);

/// How much an unforeseen refusal lowers the limit that is assumed, and how much a minute without one raises it.
const CUT: f64 = 0.7;
const RECOVERY: f64 = 1.05;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

/// Lets through no more than the limit in force.
#[derive(Debug)]
pub(super) struct Ceiling {
    clock: SharedClock,
    limits: Limits,
    limiter: Option<Limiter>,
    rule: Rule,
    /// The share of the assumed limit that still seems right; below 1 after refusals.
    confidence: f64,
    /// When it last fell, and since when it may rise.
    cut_at: Duration,
    calm_since: Duration,
}

/// What the limiter enforces.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Nothing: the server's headers decide.
    Open,
    /// A bucket of `burst` requests, refilled by one each `period`.
    Bucket { burst: u32, period: Duration },
}

impl Ceiling {
    pub(super) fn new(limits: Limits, clock: SharedClock) -> Self {
        let mut ceiling = Self {
            cut_at: clock.monotonic(),
            calm_since: clock.monotonic(),
            clock,
            limits,
            limiter: None,
            rule: Rule::Open,
            confidence: 1.0,
        };
        ceiling.adjust(None, None);
        ceiling
    }

    /// Takes a request from the ceiling; else says how long until there is room for one.
    pub(super) fn check(&self) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter.check().map_err(|refusal| {
            refusal
                .wait_time_from(self.clock.monotonic())
                .max(Duration::from_millis(1))
        })
    }

    /// Follows what the server states: its limit and, once it is known, the window the limit is per; nothing, if it does
    /// not keep us informed of what remains. `limit` is what it said last, be it long ago.
    pub(super) fn adjust(&mut self, stated: Option<(u32, Option<Duration>)>, limit: Option<u32>) {
        let now = self.clock.monotonic();
        if self.confidence < 1.0 && now >= self.calm_since + MINUTE {
            self.confidence = (self.confidence * RECOVERY).min(1.0);
            self.calm_since = now;
        }
        let plan = self.limits.ceiling_per_minute;
        let rule = match stated {
            None => {
                let otherwise = limit.unwrap_or(self.limits.fallback_per_minute);
                let assumed = plan.map_or(otherwise, |plan| plan.min(limit.unwrap_or(plan)));
                strict(f64::from(assumed) * self.confidence * (1.0 - self.limits.reserve))
            }
            Some((limit, window)) => {
                let per_minute = f64::from(limit) * MINUTE.as_secs_f64() / window.unwrap_or(MINUTE).as_secs_f64();
                match (plan, window) {
                    (Some(plan), _) if f64::from(plan) < per_minute => {
                        strict(f64::from(plan) * (1.0 - self.limits.reserve))
                    }
                    // A belt beside the headers, a little wider than they are.
                    (_, Some(window)) => Rule::Bucket {
                        burst: limit,
                        period: window.div_f64(1.05 * f64::from(limit)),
                    },
                    (_, None) => Rule::Open,
                }
            }
        };
        if rule != self.rule {
            self.rule = rule;
            self.limiter = match rule {
                Rule::Open => None,
                Rule::Bucket { burst, period } => NonZeroU32::new(burst)
                    .zip(Quota::with_period(period.max(Duration::from_nanos(1))))
                    .map(|(burst, quota)| {
                        RateLimiter::direct_with_clock(quota.allow_burst(burst), Monotonic(self.clock.clone()))
                    }),
            };
        }
    }

    /// The server refused a request that nothing it states forbade: assume less. The refusals of one minute count once,
    /// they may all be the fruit of what was sent before.
    pub(super) fn refused(&mut self) {
        let now = self.clock.monotonic();
        if self.confidence >= 1.0 || now >= self.cut_at + MINUTE {
            self.confidence = (self.confidence * CUT).max(0.01);
            self.cut_at = now;
        }
        self.calm_since = now;
    }
}

/// A bucket from which no minute, wherever it begins, gets more than `per_minute`: what it holds and what flows in
/// within the minute add up to that.
fn strict(per_minute: f64) -> Rule {
    let per_minute = per_minute.max(1.0);
    let burst = (per_minute * 0.05).floor().max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 1, at most u32::MAX / 20"
    )]
    Rule::Bucket {
        burst: burst as u32,
        period: MINUTE.div_f64((per_minute - burst).max(0.95)),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::clock::VirtualClock;

    /// The moments at which requests pass, taken as fast as the ceiling lets them.
    fn moments(ceiling: &Ceiling, clock: &VirtualClock, minutes: u64) -> Vec<Duration> {
        let (start, mut moments) = (ceiling.clock.monotonic(), Vec::new());
        while ceiling.clock.monotonic().checked_sub(start).unwrap() < Duration::from_mins(minutes) {
            match ceiling.check() {
                Ok(()) => moments.push(ceiling.clock.monotonic()),
                Err(wait) => clock.advance(wait),
            }
        }
        moments
    }

    fn ceiling(limits: Limits) -> (Ceiling, VirtualClock) {
        let clock = VirtualClock::new(DateTime::UNIX_EPOCH);
        (Ceiling::new(limits, clock.shared()), clock)
    }

    #[test]
    fn no_minute_wherever_it_begins_holds_more_than_the_limit() {
        for limit in [1, 2, 7, 100, 1000] {
            let (ceiling, clock) = ceiling(Limits {
                fallback_per_minute: limit,
                ..Limits::default()
            });
            let moments = moments(&ceiling, &clock, 10);
            for (first, moment) in moments.iter().enumerate() {
                let within = moments[first..]
                    .iter()
                    .take_while(|other| (**other).checked_sub(*moment).unwrap() < MINUTE)
                    .count();
                assert!(within <= limit as usize, "{within} of {limit}");
            }
            if limit >= 100 {
                assert!(moments.len() >= limit as usize * 9, "{} of {limit}", moments.len());
            }
        }
    }

    #[test]
    fn a_plan_below_the_servers_limit_is_kept_and_one_above_is_not_needed() {
        let limits = Limits {
            ceiling_per_minute: Some(100),
            ..Limits::default()
        };
        let (mut ceiling, clock) = ceiling(limits);
        ceiling.adjust(Some((300, Some(Duration::from_secs(10)))), Some(300));
        assert!(moments(&ceiling, &clock, 1).len() <= 100);
        ceiling.adjust(Some((60, None)), Some(60));
        assert_eq!(ceiling.rule, Rule::Open);
    }

    #[test]
    fn refusals_that_came_together_lower_the_limit_once_and_it_recovers() {
        let (mut ceiling, clock) = ceiling(Limits::default());
        clock.advance(Duration::from_secs(5));
        for _ in 0..8 {
            ceiling.refused();
        }
        assert!((ceiling.confidence - CUT).abs() < 1e-9);
        for _ in 0..20 {
            clock.advance(MINUTE);
            ceiling.adjust(None, None);
        }
        assert!((ceiling.confidence - 1.0).abs() < 1e-9);
    }
}
