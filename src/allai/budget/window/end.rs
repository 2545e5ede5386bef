//! When a window is over, from what its answers state and what has been learned of its kind.

use std::time::Duration;

use super::{ClockOffset, End, LONGEST, Observation, Open, ROUNDING, Window};
use crate::allai::budget::clock_offset::{micros, monotonic};

/// The documented limits are per minute: so long is a window until it shows another length.
const USUAL: Duration = Duration::from_mins(1);
/// What is added to the computed end, for timers that fire early and clocks that tick coarsely.
const SLACK: Duration = Duration::from_millis(20);
/// The lengths that windows have in life, in seconds.
const ROUND_LENGTHS: [u64; 10] = [10, 15, 20, 30, 60, 120, 300, 600, 900, 1800];

impl Window {
    /// The window's length, if it has one.
    pub(super) fn known_length(&self) -> Option<Duration> {
        let distance = self.length.filter(|_| !self.sliding)?.time;
        let length = if distance < self.outlasted {
            self.outlasted.max(distance + ROUNDING)
        } else {
            distance
        };
        // Where a window begins with the first request and its end is rounded, each begins up to two seconds late, and
        // ends look that much further apart than they need be; one that comes out a moment too early is a second nearer.
        let round = ROUND_LENGTHS
            .into_iter()
            .map(Duration::from_secs)
            .find(|round| (*round..=*round + 3 * ROUNDING).contains(&(length + ROUNDING)))
            .filter(|_| self.distrust == 0);
        Some(round.unwrap_or(length).max(self.outlasted))
    }

    /// No window is waited for longer than this, and a second.
    pub(super) fn horizon(&self) -> Duration {
        self.known_length().unwrap_or_else(|| USUAL.max(self.confirmed))
    }

    /// Whether a window's end can only be that of a tile: one that we opened was shorter than windows are.
    fn tiled(&self) -> bool {
        self.shortest_ahead
            .is_some_and(|ahead| ahead + ROUNDING < self.horizon())
    }

    pub(super) fn end_of(&self, open: &Open, clock: &ClockOffset, wall: i64, now: Duration) -> Duration {
        let by_length = open.first_seen + self.horizon() + SLACK;
        let end = match open.end {
            End::Unstated => by_length,
            End::Local { latest, .. } => {
                if self.distrust < 2 && latest <= open.first_seen + self.horizon() + 2 * ROUNDING {
                    latest + SLACK
                } else {
                    by_length
                }
            }
            End::Server { micros: end, fine } => self
                .end_on_server(open, end, fine, clock, wall, now)
                .unwrap_or(by_length),
        };
        end.max(open.not_before)
    }

    /// When an end stated on the server's clock has passed for certain; `None` if it cannot be believed.
    pub(super) fn end_on_server(
        &self,
        open: &Open,
        end: i64,
        fine: bool,
        clock: &ClockOffset,
        wall: i64,
        now: Duration,
    ) -> Option<Duration> {
        let bounds = clock.bounds(now);
        // Without the server's time, the distance between two ends is all that can be relied on.
        if self.distrust >= 2 || (bounds.is_none() && self.known_length().is_some()) {
            return None;
        }
        let (low, high) = bounds.unwrap_or((wall, wall));
        let horizon = self.horizon();
        let (from, ahead) = (micros(open.first_seen), end - low - micros(open.first_seen));
        // An answer that took long leaves the server's clock open by as much; no window is that long.
        let furthest = (micros(horizon + 2 * ROUNDING) + (high - low)).min(micros(LONGEST + 2 * ROUNDING));
        if ahead < -micros(ROUNDING) || ahead > furthest {
            return None;
        }
        let local = monotonic(from + ahead);
        let multiple = end % micros(horizon).max(1) == 0;
        let unclear = multiple && open.ours && !self.tiled();
        let exact = self.distrust == 0 && !self.sliding && (fine || (multiple && !unclear));
        if exact {
            return Some(local + SLACK);
        }
        if unclear && !self.tried_tile && self.known_length().is_some() {
            // Waiting past the end of a tile makes the next one visibly shorter than W, which settles what it is.
            return Some(local + ROUNDING + ROUNDING / 3);
        }
        let rounded = local + ROUNDING + SLACK;
        Some(if self.known_length().is_some() {
            rounded.min(open.first_seen + horizon + SLACK)
        } else {
            rounded
        })
    }
}

/// How long after it was first seen a window is said to end, if that is yet to come and within reason.
pub(super) fn ahead(open: &Open, seen: &Observation, clock: &ClockOffset) -> Option<Duration> {
    let end = match open.end {
        End::Server { micros, .. } => monotonic(micros - clock.bounds(seen.received)?.0),
        End::Local { latest, .. } => latest,
        End::Unstated => return None,
    };
    (end > seen.received && end <= seen.received + LONGEST).then(|| end.saturating_sub(open.first_seen))
}
