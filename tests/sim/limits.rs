//! The server's rate limit: what it allows, and what it says about it.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, HeaderValue};

use crate::scenario::{Rate, Reset, WindowKind};

pub(crate) struct Limits {
    rate: Rate,
    /// What the server's clock was set by in mid-run.
    pub(crate) jumped: i64,
    /// Sliding: when the requests of the last window came.
    log: VecDeque<Duration>,
    /// Otherwise: how many came in the window that ends then.
    count: u32,
    ends: Duration,
}

/// What came of a request.
pub(crate) struct Ruling {
    pub(crate) allowed: bool,
    pub(crate) headers: HeaderMap,
}

impl Limits {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            jumped: 0,
            log: VecDeque::new(),
            count: 0,
            ends: Duration::ZERO,
        }
    }

    /// The clock of whatever writes the headers, in milliseconds since 1970.
    fn clock(&self, true_millis: i64) -> i64 {
        true_millis + (self.rate.skew + self.jumped) * 1000
    }

    /// Counts a request that arrives at `now` since the start, which is `true_millis` since 1970.
    pub(crate) fn take(&mut self, now: Duration, true_millis: i64) -> Ruling {
        let window = Duration::from_secs(u64::from(self.rate.window_seconds));
        let (used, ends) = match self.rate.kind {
            WindowKind::Sliding => {
                while self.log.front().is_some_and(|first| *first + window <= now) {
                    self.log.pop_front();
                }
                let first = self.log.front().copied().unwrap_or(now);
                (u32::try_from(self.log.len()).unwrap_or(u32::MAX), first + window)
            }
            WindowKind::FirstRequest | WindowKind::Tiled => {
                if now >= self.ends {
                    self.count = 0;
                    self.ends = if self.rate.kind == WindowKind::Tiled {
                        let length = i64::from(self.rate.window_seconds) * 1000;
                        let left = length - (true_millis + self.rate.skew * 1000).rem_euclid(length);
                        now + Duration::from_millis(left.unsigned_abs())
                    } else {
                        now + window
                    };
                }
                (self.count, self.ends)
            }
        };
        let allowed = used < self.rate.limit;
        if allowed {
            self.count += 1;
            self.log.push_back(now);
        }
        let remaining = self.rate.limit - used - u32::from(allowed);
        let left = ends.saturating_sub(now);
        Ruling {
            allowed,
            headers: self.headers(remaining, left, allowed, true_millis),
        }
    }

    fn headers(&self, remaining: u32, left: Duration, allowed: bool, true_millis: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            headers.insert(name, HeaderValue::try_from(value).unwrap());
        };
        let clock = self.clock(true_millis);
        // To the nearest: a tile ends where its server says, not a millisecond before.
        let left_millis = i64::try_from((left.as_micros() + 500) / 1000).unwrap_or(0);
        if self.rate.date {
            let date = DateTime::from_timestamp_millis(clock).unwrap_or_default();
            put("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        let up = left_millis.saturating_add(999) / 1000;
        match self.rate.reset {
            Reset::Nothing => {}
            Reset::Seconds => put("x-ratelimit-reset", ((clock + left_millis) / 1000).to_string()),
            Reset::Milliseconds => put("x-ratelimit-reset", (clock + left_millis).to_string()),
            Reset::Delta => put("x-ratelimit-reset", up.to_string()),
        }
        if self.rate.reset != Reset::Nothing {
            put("x-ratelimit-limit", self.rate.limit.to_string());
            put("x-ratelimit-remaining", remaining.to_string());
        }
        if !allowed && self.rate.retry_after {
            put("retry-after", up.to_string());
        }
        headers
    }
}
