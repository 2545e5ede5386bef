//! The right to send one request, and what is learned from its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use rand::RngExt;

use super::headers::{RateHeaders, date};
use super::window::Observation;
use super::{Shared, State};
use crate::allai::retry::{LONGEST_RETRY_AFTER, retry_after};

/// The shortest pause after a 429.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that the server did not ask for.
const LONGEST_GUESS: Duration = Duration::from_secs(30);
/// The pause after a 429 is up to this much longer, so that several programs do not return together.
const PAUSE_JITTER: Duration = Duration::from_millis(250);

/// The right to send one request; given back when dropped.
pub(in crate::allai) struct Permit {
    pub(super) shared: Arc<Shared>,
    /// Whether it was sent to learn what is not known.
    pub(super) probe: bool,
    /// When it was granted (monotonic).
    pub(super) sent: Duration,
    /// Whether its answer has been taken in.
    pub(super) answered: AtomicBool,
}

impl Permit {
    /// Tells the budget what the answer said, as soon as its head has arrived.
    pub(in crate::allai) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        if self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let (now, wall) = self.shared.time();
        let mut state = self.shared.lock();
        let state = &mut *state;
        state.unanswered -= 1;
        if self.probe {
            state.window.probe_done();
        }
        if let Some(date) = date(headers) {
            state.offset.observe(date, self.sent, now);
        }
        let refused = status == StatusCode::TOO_MANY_REQUESTS;
        let seen = Observation {
            headers: RateHeaders::parse(headers),
            sent: self.sent,
            received: now,
            probe: self.probe,
            refused,
            telling: !status.is_server_error(),
        };
        state.window.observe(&seen, &state.offset);
        if !refused {
            state.refusals = 0;
        } else if self.sent >= state.pause_until {
            state.refusals += 1;
        }
        if refused {
            let server_now = state.offset.server_time(now).unwrap_or_else(|| self.shared.clock.now());
            state.pause(&seen, retry_after(headers, server_now), wall);
        }
        state.wake_first();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.in_flight -= 1;
        if !*self.answered.get_mut() {
            state.unanswered -= 1;
            state.window.lost();
            if self.probe {
                state.window.probe_done();
            }
        }
        state.wake_first();
    }
}

impl State {
    /// Everybody pauses, for as long as the server asks, within reason.
    fn pause(&mut self, seen: &Observation, asked: Option<Duration>, wall: i64) {
        let now = seen.received;
        let spent = seen.headers.remaining == Some(0);
        // An end that has passed says nothing: the clocks may have been set.
        let end = self
            .window
            .end(&self.offset, wall, now)
            .filter(|end| spent && *end > now);
        let window = end.map_or(Duration::ZERO, |end| end.saturating_sub(now));
        let jitter = PAUSE_JITTER.mul_f64(self.random.random_range(0.0..1.0));
        // Where the server does not say how long, ever longer.
        let least = (SHORTEST_PAUSE * (1 << self.refusals.saturating_sub(1).min(6))).min(LONGEST_GUESS);
        let pause = asked
            .unwrap_or_default()
            .max(window)
            .max(if asked.is_some() || end.is_some() {
                SHORTEST_PAUSE
            } else {
                least
            });
        // A window that lasts longer keeps everybody waiting by itself.
        let pause = pause.saturating_add(jitter).min(LONGEST_RETRY_AFTER);
        self.pause_until = self.pause_until.max(now + pause);
        if end.is_none() {
            self.window.forget();
        }
        if self.window.stated().is_none() {
            self.ceiling.refused();
        }
        tracing::debug!(
            http.wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "over the rate limit, everybody pauses"
        );
    }
}
