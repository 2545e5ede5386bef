//! No more requests than the vendor allows, in any period.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::time::sleep;

/// How many requests a vendor allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many requests…
    pub requests: NonZeroU32,
    /// …in any period of this length.
    pub per: Duration,
}

/// What the vendor allows.
pub(super) struct Ceiling {
    pace: DefaultDirectRateLimiter,
    places: Arc<Semaphore>,
    per: Duration,
}

impl Ceiling {
    pub(super) fn new(rate: Rate) -> Self {
        let interval = (rate.per / rate.requests.get()).max(Duration::from_nanos(1));
        // An interval that is not zero is always a quota.
        let quota = Quota::with_period(interval).unwrap_or_else(|| Quota::per_second(rate.requests));
        Self {
            pace: RateLimiter::direct(quota.allow_burst(NonZeroU32::MIN)),
            places: Arc::new(Semaphore::new(rate.requests.get() as usize)),
            per: rate.per,
        }
    }

    pub(super) async fn enter(&self) -> Place {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        let place = Place { permit, per: self.per };
        self.pace.until_ready().await;
        place
    }
}

/// A request's place among those that the server counts, until a period after it is dropped.
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    per: Duration,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (permit, per) = (self.permit.take(), self.per);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                sleep(per).await;
                drop(permit);
            });
        }
    }
}
