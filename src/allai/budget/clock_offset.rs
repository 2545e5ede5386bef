//! The server's clock, learned from the `Date` of its answers.
//!
//! `Date` has a resolution of one second (RFC 9110, 5.6.7), so one answer tells little: with `Date: d`, sent at t0 and
//! received at t1, the server's clock was in [d, d + 1 s) at some moment between, hence server − local lies in
//! [d − t1, d + 1 s − t0]. Every answer gives such an interval; their intersection shrinks to about a round trip.
//!
//! "Local" is the monotonic clock, so a machine whose own wall clock is wrong or is set does no harm.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// How fast two clocks may drift apart, in millionths.
const DRIFT_PPM: i64 = 100;

/// What is known of server time − monotonic time. Microseconds throughout.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockOffset {
    known: Option<Bounds>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    low: i64,
    high: i64,
    at: i64,
}

impl ClockOffset {
    /// Takes in an answer dated `date`, to a request sent at `sent` and answered at `received` (monotonic).
    pub(super) fn observe(&mut self, date: DateTime<Utc>, sent: Duration, received: Duration) {
        let (date, at) = (date.timestamp_micros(), micros(received));
        let fresh = Bounds {
            low: date - at,
            high: date + 1_000_000 - micros(sent),
            at,
        };
        let known = self.bounds(received).map(|(low, high)| Bounds {
            low: low.max(fresh.low),
            high: high.min(fresh.high),
            at,
        });
        // An empty intersection means that one of the clocks was set: the newest answer is right.
        self.known = Some(known.filter(|known| known.low <= known.high).unwrap_or(fresh));
    }

    /// Between what the offset lies, at a monotonic time; wider the longer ago the last answer is.
    pub(super) fn bounds(&self, now: Duration) -> Option<(i64, i64)> {
        let known = self.known?;
        let drift = (micros(now) - known.at).max(0) / 1_000_000 * DRIFT_PPM;
        Some((known.low - drift, known.high + drift))
    }

    /// The server's clock at a monotonic time; `None` as long as no answer was dated.
    pub(super) fn server_time(&self, now: Duration) -> Option<DateTime<Utc>> {
        let (low, high) = self.bounds(now)?;
        DateTime::from_timestamp_micros(micros(now) + low + (high - low) / 2)
    }
}

/// A duration in whole microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// A monotonic time from microseconds; what lies before the clock's start is its start.
pub(super) fn monotonic(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW: i64 = 1_768_818_600_250_000;

    fn answer(offset: &mut ClockOffset, sent: u64, way: u64, skew: i64) {
        let served = i64::try_from(sent + way).unwrap() * 1000 + skew;
        let date = DateTime::from_timestamp(served.div_euclid(1_000_000), 0).unwrap();
        offset.observe(date, Duration::from_millis(sent), Duration::from_millis(sent + 2 * way));
    }

    #[test]
    fn many_coarse_dates_make_a_fine_clock() {
        let mut offset = ClockOffset::default();
        for n in 0..50 {
            answer(&mut offset, n * 137, 20, SKEW);
        }
        let (low, high) = offset.bounds(Duration::from_secs(7)).unwrap();
        assert!(low <= SKEW && SKEW <= high);
        assert!(high - low < 150_000, "{}", high - low);
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let mut offset = ClockOffset::default();
        for n in 0..50 {
            answer(&mut offset, n * 137, 20, SKEW);
        }
        answer(&mut offset, 8000, 20, SKEW - 300_000_000);
        let (low, high) = offset.bounds(Duration::from_secs(8)).unwrap();
        assert!(low <= SKEW - 300_000_000 && SKEW - 300_000_000 <= high);
    }

    #[test]
    fn old_knowledge_grows_vague() {
        let mut offset = ClockOffset::default();
        answer(&mut offset, 0, 20, SKEW);
        let width = |at| {
            offset
                .bounds(Duration::from_secs(at))
                .map(|(low, high)| high - low)
                .unwrap()
        };
        assert!(width(3600) > width(1) + 600_000);
    }
}
