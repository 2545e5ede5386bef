//! Which waits the log is told of: long ones, and each once, however many requests wait.

use std::time::Duration;

/// A wait longer than this is told of.
const LONG: Duration = Duration::from_secs(5);

/// The end of the wait told of last (monotonic).
#[derive(Debug, Default)]
pub(super) struct Announced(Option<Duration>);

impl Announced {
    /// Whether to tell of a wait from `now` to `until`: it is long, and lasts longer than the one told of last, of which
    /// others may know the end a little more exactly.
    ///
    /// That a request was let through in between does not make it another wait: room is also found while answers
    /// are under way.
    pub(super) fn is_news(&mut self, now: Duration, until: Duration) -> bool {
        let long = until.saturating_sub(now) > LONG;
        let news = long && self.0.is_none_or(|told| until > told + LONG);
        if news {
            self.0 = Some(until);
        }
        news
    }
}

/// A wait for the log, to the nearest second.
pub(super) const fn seconds(wait: Duration) -> u64 {
    wait.saturating_add(Duration::from_millis(500)).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_waits_are_news_and_each_of_them_once() {
        let s = Duration::from_secs;
        let mut announced = Announced::default();
        for (now, until, news) in [
            (0, 5, false),
            (0, 40, true),
            (1, 40, false),
            (2, 44, false),
            (3, 60, true),
            (58, 64, false),
            (61, 67, true),
        ] {
            assert_eq!(announced.is_news(s(now), s(until)), news, "{now} to {until}");
        }
    }
}
