//! The machine's clock, in one place: everything else that reads the time or waits comes here.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// A point in time that never goes back.
pub(crate) fn monotonic() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    Instant::now()
}

/// The wall clock.
pub(crate) fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    Utc::now()
}

/// Completes when `duration` has passed.
pub(crate) async fn sleep(duration: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits on the machine's clock"
    )]
    tokio::time::sleep(duration).await;
}
