//! The rate limit: a number of requests per key and window.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use rand::RngExt;
use rand::rngs::StdRng;

use super::options::{LimitOptions, RateHeaders, ResetFormat, RetryAfter, WindowKind};

/// The windows of all keys.
#[derive(Debug, Default)]
pub(super) struct Limits(HashMap<String, Window>);

#[derive(Debug, Default)]
struct Window {
    /// Microseconds since 1970.
    start: i64,
    used: u32,
    /// When the requests of a sliding window came.
    recent: VecDeque<i64>,
}

/// What the limit says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) admitted: bool,
    pub(super) remaining: u32,
    /// When more requests become possible.
    pub(super) resets_at: DateTime<Utc>,
}

impl Limits {
    /// Counts one request of a key; a refused one does not count. `None` where there is no limit.
    pub(super) fn admit(&mut self, key: &str, options: &LimitOptions, now: DateTime<Utc>) -> Option<Verdict> {
        if options.limit == 0 {
            return None;
        }
        let length = i64::try_from(options.window.as_micros()).unwrap_or(i64::MAX / 4).max(1);
        let at = now.timestamp_micros();
        let window = self.0.entry(key.to_owned()).or_default();
        let resets = match options.window_kind {
            WindowKind::Sliding => window.slide(at, length),
            WindowKind::Fixed => window.turn(at - at.rem_euclid(length), length),
            WindowKind::FirstRequest if window.used == 0 || at >= window.start + length => {
                window.used = 0;
                window.turn(at, length)
            }
            WindowKind::FirstRequest => window.start + length,
        };
        let admitted = window.used < options.limit;
        if admitted {
            window.used += 1;
            window.recent.push_back(at);
        }
        if options.window_kind != WindowKind::Sliding {
            window.recent.clear();
        }
        Some(Verdict {
            admitted,
            remaining: options.limit - window.used.min(options.limit),
            resets_at: DateTime::from_timestamp_micros(resets).unwrap_or(now),
        })
    }
}

impl Window {
    fn turn(&mut self, start: i64, length: i64) -> i64 {
        if start != self.start {
            self.start = start;
            self.used = 0;
        }
        start + length
    }

    fn slide(&mut self, at: i64, length: i64) -> i64 {
        while self.recent.front().is_some_and(|first| first + length <= at) {
            self.recent.pop_front();
        }
        self.used = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.recent.front().map_or(at, |first| *first) + length
    }
}

impl Verdict {
    /// Writes the headers that go with the verdict.
    pub(super) fn write(&self, headers: &mut HeaderMap, options: &LimitOptions, now: DateTime<Utc>, rng: &mut StdRng) {
        let wait = (self.resets_at - now).max(TimeDelta::zero());
        let reset = match options.reset_format {
            ResetFormat::Epoch => seconds_up(self.resets_at.timestamp_micros()).to_string(),
            ResetFormat::EpochMs => (self.resets_at.timestamp_micros() + 999).div_euclid(1000).to_string(),
            ResetFormat::Delta => seconds_up(wait.num_microseconds().unwrap_or_default()).to_string(),
            ResetFormat::Fractional => {
                let millis = (self.resets_at.timestamp_micros() + 999).div_euclid(1000);
                format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
            }
        };
        let fields = [
            ("x-ratelimit-limit", options.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-reset", reset),
        ];
        for (name, value) in fields {
            let send = match options.rate_headers {
                RateHeaders::All => true,
                RateHeaders::None => false,
                RateHeaders::Partial => rng.random_bool(0.5),
            };
            if send {
                set(headers, HeaderName::from_static(name), &value);
            }
        }
        if !self.admitted {
            let seconds = seconds_up(wait.num_microseconds().unwrap_or_default()).max(1);
            match options.retry_after {
                RetryAfter::Seconds => set(headers, RETRY_AFTER, &seconds.to_string()),
                RetryAfter::Date => set(headers, RETRY_AFTER, &http_date(now + TimeDelta::seconds(seconds))),
                RetryAfter::None => {}
            }
        }
    }
}

/// An instant as HTTP headers write it (RFC 9110, 5.6.7).
pub(super) fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

const fn seconds_up(micros: i64) -> i64 {
    (micros + 999_999).div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sandbox::Options;

    fn options(kind: WindowKind) -> LimitOptions {
        LimitOptions {
            limit: 3,
            window: Duration::from_mins(1),
            window_kind: kind,
            ..Options::default().limits
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_768_818_600 + seconds, 0).unwrap()
    }

    fn admitted(kind: WindowKind, moments: &[i64]) -> Vec<bool> {
        let (mut limits, options) = (Limits::default(), options(kind));
        let verdict = |second: &i64| limits.admit("key", &options, at(*second)).unwrap().admitted;
        moments.iter().map(verdict).collect()
    }

    #[test]
    fn a_fixed_window_ends_at_a_multiple_of_its_length() {
        // 1,768,818,600 is a multiple of 60.
        let seen = admitted(WindowKind::Fixed, &[50, 51, 52, 53, 59, 60, 61, 62, 63, 120]);
        assert_eq!(seen, [true, true, true, false, false, true, true, true, false, true]);
    }

    #[test]
    fn a_window_may_begin_with_its_first_request() {
        let seen = admitted(WindowKind::FirstRequest, &[50, 51, 52, 60, 109, 110, 111, 112, 113]);
        assert_eq!(seen, [true, true, true, false, false, true, true, true, false]);
    }

    #[test]
    fn a_sliding_window_never_holds_more_than_the_limit() {
        let seen = admitted(WindowKind::Sliding, &[0, 30, 50, 59, 60, 61, 90, 91, 110, 120, 121]);
        assert_eq!(
            seen,
            [true, true, true, false, true, false, true, false, true, true, false]
        );
    }

    #[test]
    fn the_verdict_says_what_remains_and_until_when() {
        let (mut limits, options) = (Limits::default(), options(WindowKind::Fixed));
        let first = limits.admit("key", &options, at(10)).unwrap();
        assert_eq!((first.remaining, first.resets_at), (2, at(60)));
        let other = limits.admit("another key", &options, at(10)).unwrap();
        assert_eq!(other.remaining, 2);
        assert_eq!(http_date(at(0)), "Mon, 19 Jan 2026 10:30:00 GMT");
    }
}
