//! Finding out how long windows are, where the server's answers alone do not tell.
//!
//! A window whose end is stated on the server's clock, by a server that does not tell the time and whose clock is not
//! ours, ends nobody knows when. But the distance between the ends of two windows is exact whatever the clock. So the
//! last few requests of such a window are not sent at once but one by one, spread over the time a window may last: the
//! first that is answered from a new window tells its length. They have room in the old window, so none is refused.

use std::time::Duration;

use super::{ClockOffset, End, Open, Window};

/// How long after a window was first seen its scouts leave, in seconds: at the lengths windows have in life, so that one
/// that began with our first request is caught just after its end, and often enough that none is passed over.
const SCOUTS: [u64; 7] = [2, 5, 7, 10, 15, 20, 30];
/// What is added, so that a window of just that length, which began with our first request, is over.
const MARGIN: Duration = Duration::from_millis(100);
/// Below this limit the scouts would be more than a quarter of it.
const LEAST_LIMIT: u32 = 28;

/// The next request that is to find out whether the window is over.
pub(super) struct Scout {
    /// When it may leave (monotonic).
    pub(super) at: Duration,
    /// How many requests are kept for it and those after it.
    pub(super) kept: u32,
}

impl Window {
    /// The next scout, if the window needs one: its end cannot be told, and neither can the length of windows.
    pub(super) fn next_scout(&self, open: &Open, clock: &ClockOffset, wall: i64, now: Duration) -> Option<Scout> {
        let End::Server { micros, fine } = open.end else {
            return None;
        };
        if self.length.is_some()
            || self.sliding
            || self.limit.is_none_or(|limit| limit < LEAST_LIMIT)
            || clock.bounds(now).is_some()
            || self.end_on_server(open, micros, fine, clock, wall, now).is_some()
        {
            return None;
        }
        let mut ahead = SCOUTS
            .into_iter()
            .map(|after| open.first_seen + Duration::from_secs(after) + MARGIN)
            .filter(|at| *at > self.sent_at);
        let at = ahead.next()?;
        let kept = 1 + u32::try_from(ahead.count()).unwrap_or_default();
        Some(Scout { at, kept })
    }
}
