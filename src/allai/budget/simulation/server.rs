//! Model servers: every kind of rate limit, stated in every notation.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::clock::START;
use crate::allai::budget::clock_offset::micros;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Tiled,
    FirstRequest,
    /// States when the oldest request leaves the log.
    SlidingOldest,
    /// States when the log would be empty.
    SlidingEmpty,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Notation {
    Floor,
    /// The same, of an end that comes out a moment too early now and then, as where it is the sum of two rounded figures.
    Shaky,
    Ceil,
    Milliseconds,
    DeltaFloor,
    DeltaCeil,
    /// Limit and what remains, but no reset.
    Unstated,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) kind: Kind,
    pub(super) limit: u32,
    pub(super) window: Duration,
    /// The server's clock minus ours, in seconds.
    pub(super) skew: i64,
    /// Whether its answers tell the time.
    pub(super) date: bool,
    pub(super) notation: Notation,
    /// How long a request is on its way to it, and its answer back, in milliseconds: from, to.
    pub(super) way: (u64, u64),
}

pub(super) struct Server {
    model: Model,
    log: VecDeque<Duration>,
    opened: Duration,
    count: u32,
    pub(super) served: Vec<Duration>,
    pub(super) refused: u32,
}

impl Server {
    pub(super) const fn way(&self) -> (u64, u64) {
        self.model.way
    }

    pub(super) fn new(model: Model) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            model,
            log: VecDeque::new(),
            opened: Duration::ZERO,
            count: u32::MAX,
            served: Vec::new(),
            refused: 0,
        }))
    }

    /// The server's clock, in microseconds since 1970.
    pub(super) fn time(&self, now: Duration) -> i64 {
        START * 1_000_000 + 350_000 + self.model.skew * 1_000_000 + micros(now)
    }

    /// Somebody sets the server's clock.
    pub(super) const fn set_clock(&mut self, by: i64) {
        self.model.skew += by;
    }

    pub(super) fn answer(&mut self, now: Duration) -> (StatusCode, HeaderMap) {
        let model = self.model;
        let window = micros(model.window);
        let local = |end: i64| Duration::from_micros(u64::try_from(end - self.time(Duration::ZERO)).unwrap_or(0));
        let (used, end) = match model.kind {
            Kind::Tiled => {
                let end = self.time(now) / window * window + window;
                let end = local(end);
                if self.count == u32::MAX || self.opened != end {
                    (self.opened, self.count) = (end, 0);
                }
                (self.count, end)
            }
            Kind::FirstRequest => {
                if self.count == u32::MAX || now >= self.opened + model.window {
                    (self.opened, self.count) = (now, 0);
                }
                (self.count, self.opened + model.window)
            }
            Kind::SlidingOldest | Kind::SlidingEmpty => {
                while self.log.front().is_some_and(|first| *first + model.window <= now) {
                    self.log.pop_front();
                }
                let anchor = if model.kind == Kind::SlidingEmpty {
                    now
                } else {
                    self.log.front().copied().unwrap_or(now)
                };
                (u32::try_from(self.log.len()).unwrap(), anchor + model.window)
            }
        };
        let allowed = used < model.limit;
        if allowed {
            self.count = used + 1;
            self.log.push_back(now);
            self.served.push(now);
        } else {
            self.refused += 1;
        }
        let remaining = model.limit - used - u32::from(allowed);
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| headers.insert(name, HeaderValue::try_from(value).unwrap());
        let at = self.time(Duration::ZERO) + micros(end);
        let left = micros(end.checked_sub(now).unwrap());
        if model.date {
            let date = DateTime::from_timestamp_micros(self.time(now)).unwrap();
            put("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        if model.notation != Notation::Nothing {
            put("x-ratelimit-limit", model.limit.to_string());
            put("x-ratelimit-remaining", remaining.to_string());
            let up = |micros: i64| (micros + 999_999) / 1_000_000;
            let reset = match model.notation {
                Notation::Floor => at / 1_000_000,
                Notation::Shaky => (at - i64::from(at / window % 4 == 1)) / 1_000_000,
                Notation::Ceil => up(at),
                Notation::Milliseconds => at / 1000,
                Notation::DeltaFloor => left / 1_000_000,
                Notation::DeltaCeil | Notation::Unstated | Notation::Nothing => up(left),
            };
            if model.notation != Notation::Unstated {
                put("x-ratelimit-reset", reset.to_string());
            }
        }
        (
            if allowed {
                StatusCode::OK
            } else {
                StatusCode::TOO_MANY_REQUESTS
            },
            headers,
        )
    }

    /// How much was used of what was allowed, from the second window we saw to the last but one.
    pub(super) fn share(&self) -> f64 {
        let pause = self.model.window / 10;
        // The first window's requests may be spread over it.
        let first_window = usize::try_from(self.model.limit).unwrap();
        let openings: Vec<usize> = (first_window..self.served.len())
            .filter(|n| self.served[*n].checked_sub(self.served[n - 1]).unwrap() > pause)
            .collect();
        let (Some(first), Some(last)) = (openings.first(), openings.last()) else {
            return 0.0;
        };
        let elapsed = self.served[*last].checked_sub(self.served[*first]).unwrap();
        let allowed = f64::from(self.model.limit) * elapsed.as_secs_f64() / self.model.window.as_secs_f64();
        f64::from(u32::try_from(last - first).unwrap()) / allowed
    }
}
