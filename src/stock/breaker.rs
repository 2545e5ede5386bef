//! When a system that does not answer is left alone.

use std::time::Duration;

/// After so many requests in a row without an answer …
const FAILURES: u32 = 3;
/// … it is asked again after so long, by one request; and twice as long with each of those that fails, …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Knows whether a system is worth asking. Times are those of a monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    pause: Duration,
    closed_until: Duration,
}

impl Breaker {
    /// Whether it may be asked now. After a pause one request may, and the others wait for what becomes of it.
    pub(super) fn lets_through(&mut self, now: Duration) -> bool {
        if self.failures < FAILURES {
            return true;
        }
        let is_over = now >= self.closed_until;
        if is_over {
            self.closed_until = now + self.pause;
        }
        is_over
    }

    /// Whether that is news: it was left alone before.
    pub(super) fn answered(&mut self) -> bool {
        let was_left_alone = self.failures >= FAILURES;
        *self = Self::default();
        was_left_alone
    }

    /// Whether that is news: it is left alone from now on.
    pub(super) fn failed(&mut self, now: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.closed_until = now + self.pause;
        }
        self.failures == FAILURES
    }

    /// It refused the credentials, and may lock out who tries them again and again. Whether that is news.
    pub(super) fn refused(&mut self, now: Duration) -> bool {
        let is_news = self.failures < FAILURES;
        self.failures = FAILURES;
        self.pause = LONGEST_PAUSE;
        self.closed_until = now + self.pause;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_fails_is_asked_less_and_less_until_it_answers() {
        let seconds = Duration::from_secs;
        let mut breaker = Breaker::default();
        let mut asked = Vec::new();
        for now in 0..300 {
            if breaker.lets_through(seconds(now)) {
                breaker.failed(seconds(now));
                asked.push(now);
            }
        }
        assert_eq!(asked, [0, 1, 2, 7, 17, 37, 77, 137, 197, 257]);
        assert!(!breaker.lets_through(seconds(300)));
        assert!(breaker.answered());
        assert!(breaker.lets_through(seconds(301)) && breaker.lets_through(seconds(301)));
    }

    #[test]
    fn after_a_pause_one_request_goes_first() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.failed(Duration::ZERO);
        }
        assert!(breaker.lets_through(FIRST_PAUSE));
        assert!(!breaker.lets_through(FIRST_PAUSE));
    }
}
