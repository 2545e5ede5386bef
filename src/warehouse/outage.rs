//! A server that is away for a while: it restarts, fails over, or has no connection left.

use std::time::Duration;

use super::Warehouse;
use super::error::Error;

/// How long an outage is waited for: a restart takes seconds, the recovery after a crash may take a minute.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many outages one piece of work lives through: a server that goes down whenever it is worked with must not be
/// waited for without end.
const MOST: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The outages that one piece of work has met.
#[derive(Debug, Default)]
pub struct Outages(u32);

impl Warehouse {
    /// If `error` is an outage, waits until the server answers again, for up to two minutes. Then what failed can be
    /// done again: nothing of it was stored, or all of it. `false` if it cannot: the error is another one, or it is
    /// the work's sixth outage, or patience is at its end.
    ///
    /// SQLite has no outages: it waits for other programs by itself.
    pub async fn outlast(&self, error: &Error, outages: &mut Outages) -> bool {
        let Self::Postgres(database) = self else { return false };
        if !error.is_outage() || outages.0 == MOST {
            return false;
        }
        outages.0 += 1;
        tracing::warn!(warehouse.error = %error, "the database is away; waiting up to 2 minutes for it to come back");
        let clock = &database.clock;
        let since = clock.monotonic();
        let mut pause = FIRST_PAUSE;
        loop {
            match database.answer().await {
                Ok(()) => {
                    tracing::info!("the database is back; going on");
                    return true;
                }
                Err(error) if !error.is_outage() => return false,
                Err(_) if clock.monotonic().saturating_sub(since) >= PATIENCE => return false,
                Err(_) => clock.sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
