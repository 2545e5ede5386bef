//! One connector's stock: what is known of it, and who is asking.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allai_connectors::{Connector, Error, Price, PriceQuery, Stock};
use chrono::{DateTime, Utc};
use moka::sync::Cache;
use tokio::sync::{Semaphore, watch};

use super::answer::{Figure, Origin, Told};
use super::breaker::Breaker;
use super::{MOST_SKUS, Terms};
use crate::clock::SharedClock;

/// Requests under way at once. What is asked for meanwhile goes together with the next.
const AT_ONCE: usize = 2;
/// About how much memory what is known may take, in bytes.
const CAPACITY: u64 = 16 << 20;
/// About what one item takes beside its texts, and each of its warehouses.
const ITEM: usize = 512;

/// A connector that knows stock.
#[derive(Clone, Debug)]
pub(super) struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    connector: Arc<dyn Connector>,
    terms: Terms,
    clock: SharedClock,
    known: Cache<Arc<str>, Known>,
    asking: Mutex<Asking>,
    /// Says that something was answered.
    answered: watch::Sender<()>,
    turns: Semaphore,
}

#[derive(Debug, Default)]
struct Asking {
    /// What is asked for, or waits to be.
    skus: HashSet<Arc<str>>,
    /// What waits to be.
    queue: VecDeque<Arc<str>>,
    breaker: Breaker,
}

/// What is known of a SKU.
#[derive(Clone, Debug, Default)]
struct Known {
    seen: Option<Seen>,
    /// Why it could not be asked for the last time, and when that was, by the monotonic clock.
    trouble: Option<(Duration, Arc<Error>)>,
}

/// What was answered.
#[derive(Clone, Debug)]
struct Seen {
    /// When it was asked for, by the monotonic clock.
    asked: Duration,
    /// The same by the wall clock, or as the system says.
    as_of: DateTime<Utc>,
    /// `None`: there is no such SKU.
    item: Option<(Arc<Stock>, Option<Arc<Price>>)>,
}

impl Source {
    pub(super) fn new(name: String, connector: Arc<dyn Connector>, terms: Terms, clock: &SharedClock) -> Self {
        let size = |sku: &Arc<str>, known: &Known| {
            let item = known.seen.as_ref().and_then(|seen| seen.item.as_ref());
            let warehouses = item.map_or(0, |(stock, _)| stock.warehouses.len());
            u32::try_from(2 * sku.len() + ITEM * (1 + warehouses)).unwrap_or(u32::MAX)
        };
        Self(Arc::new(Inner {
            name,
            connector,
            terms,
            clock: SharedClock::clone(clock),
            known: Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(size)
                .time_to_live(terms.kept)
                .build(),
            asking: Mutex::default(),
            answered: watch::Sender::new(()),
            turns: Semaphore::new(AT_ONCE),
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// What is known of SKUs, in their order, within the deadline.
    pub(super) async fn look_up(&self, skus: &[String]) -> Vec<Told> {
        let inner = &*self.0;
        let began = inner.clock.monotonic();
        let skus: Vec<Arc<str>> = skus.iter().map(|sku| Arc::from(sku.trim())).collect();
        let mut answered = inner.answered.subscribe();
        if self.ask_for(&skus, began) {
            // Whoever gives up does not take back what others wait for.
            let source = self.clone();
            tokio::spawn(async move { source.ask().await });
        }
        let waiting = async {
            while inner.is_asking(&skus) {
                if answered.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = waiting => {}
            () = inner.clock.sleep(inner.terms.deadline) => {}
        }
        skus.iter().map(|sku| inner.told(sku, began)).collect()
    }

    /// Queues what is not known well enough and nobody asks for yet; whether there was any.
    fn ask_for(&self, skus: &[Arc<str>], now: Duration) -> bool {
        let inner = &*self.0;
        let mut asking = inner.lock();
        let is_new = |asking: &Asking, sku: &Arc<str>| !inner.is_fresh(sku, now) && !asking.skus.contains(sku);
        if !skus.iter().any(|sku| is_new(&asking, sku)) || !asking.breaker.lets_through(now) {
            return false;
        }
        for sku in skus {
            if is_new(&asking, sku) {
                asking.skus.insert(Arc::clone(sku));
                asking.queue.push_back(Arc::clone(sku));
            }
        }
        true
    }

    /// Asks for what waits, all together.
    async fn ask(&self) {
        let inner = &*self.0;
        let Ok(_turn) = inner.turns.acquire().await else {
            return;
        };
        loop {
            let skus: Vec<Arc<str>> = {
                let mut asking = inner.lock();
                let some = asking.queue.len().min(MOST_SKUS);
                asking.queue.drain(..some).collect()
            };
            if skus.is_empty() {
                return;
            }
            let batch = Batch { inner, skus };
            let asked = (inner.clock.monotonic(), inner.clock.now());
            let outcome = tokio::select! {
                outcome = inner.fetch(&batch.skus) => outcome,
                () = inner.clock.sleep(inner.terms.deadline) => Err(inner.too_late()),
            };
            inner.note(&batch.skus, asked, outcome);
        }
    }
}

/// SKUs that are being asked for. Whatever becomes of it, those who wait are told when it is over.
struct Batch<'a> {
    inner: &'a Inner,
    skus: Vec<Arc<str>>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut asking = self.inner.lock();
        for sku in &self.skus {
            asking.skus.remove(sku);
        }
        drop(asking);
        self.inner.answered.send_replace(());
    }
}

/// Stock and prices, by the SKU that was asked for.
type Fetched = HashMap<String, (Stock, Option<Price>)>;

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self, sku: &Arc<str>, now: Duration) -> bool {
        let seen = self.known.get(sku).and_then(|known| known.seen);
        seen.is_some_and(|seen| now.saturating_sub(seen.asked) < self.terms.fresh)
    }

    fn is_asking(&self, skus: &[Arc<str>]) -> bool {
        let asking = self.lock();
        skus.iter().any(|sku| asking.skus.contains(sku))
    }

    fn too_late(&self) -> Error {
        Error::Transient {
            system: self.connector.kind().as_str(),
            message: format!("does not answer within {} s", self.terms.deadline.as_secs_f32()),
            may_have_happened: true,
        }
    }

    async fn fetch(&self, skus: &[Arc<str>]) -> Result<Vec<Result<Fetched, Error>>, Error> {
        let skus: Vec<String> = skus.iter().map(|sku| (**sku).to_owned()).collect();
        match self.fetch_together(&skus).await {
            // One of them may be what it does not like.
            Err(error) if !error.is_outage() && !matches!(error, Error::Auth { .. }) && skus.len() > 1 => {
                let mut each = Vec::new();
                for sku in skus {
                    each.push(self.fetch_together(std::slice::from_ref(&sku)).await);
                }
                Ok(each)
            }
            together => together.map(|fetched| vec![Ok(fetched)]),
        }
    }

    async fn fetch_together(&self, skus: &[String]) -> Result<Fetched, Error> {
        let Some(erp) = self.connector.erp() else {
            return Ok(Fetched::new());
        };
        let prices = async {
            if !self.connector.capabilities().prices {
                return Vec::new();
            }
            erp.prices(skus, &PriceQuery::default()).await.unwrap_or_else(|error| {
                tracing::warn!(connector.name = self.name, %error, "prices are not known");
                Vec::new()
            })
        };
        let (stock, prices) = tokio::join!(erp.stock(skus), prices);
        let mut prices: HashMap<String, Price> = prices.into_iter().map(|price| (price.asked.clone(), price)).collect();
        let with_price = |stock: Stock| {
            let price = prices.remove(&stock.asked);
            (stock.asked.clone(), (stock, price))
        };
        Ok(stock?.into_iter().map(with_price).collect())
    }

    /// Notes what became of the SKUs.
    fn note(
        &self,
        skus: &[Arc<str>],
        (asked, at): (Duration, DateTime<Utc>),
        outcome: Result<Vec<Result<Fetched, Error>>, Error>,
    ) {
        let now = self.clock.monotonic();
        let outage = matches!(&outcome, Err(error) if error.is_outage());
        let mut outcomes = match outcome {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error)],
        }
        .into_iter()
        .map(|outcome| outcome.map_err(Arc::new))
        .collect::<Vec<_>>();
        for (position, sku) in skus.iter().enumerate() {
            let of_all = if outcomes.len() == 1 { 0 } else { position };
            let known = match &mut outcomes[of_all] {
                Ok(fetched) => {
                    let item = fetched.remove(&**sku);
                    let as_of = item.as_ref().and_then(|(stock, _)| stock.as_of).unwrap_or(at);
                    let item = item.map(|(stock, price)| (Arc::new(stock), price.map(Arc::new)));
                    Known {
                        seen: Some(Seen { asked, as_of, item }),
                        trouble: None,
                    }
                }
                Err(error) => Known {
                    trouble: Some((now, Arc::clone(error))),
                    ..self.known.get(sku).unwrap_or_default()
                },
            };
            self.known.insert(Arc::clone(sku), known);
        }
        let breaker = &mut self.lock().breaker;
        if outage {
            breaker.failed(now);
        } else {
            breaker.answered();
        }
    }

    /// What is known of a SKU, by somebody who began to ask then.
    fn told(&self, sku: &Arc<str>, began: Duration) -> Told {
        let known = self.known.get(sku).unwrap_or_default();
        let Some(seen) = known.seen else {
            let unknown = known
                .trouble
                .map_or_else(|| Arc::new(self.too_late()), |(_, error)| error);
            return Err(unknown);
        };
        let origin = if seen.asked >= began {
            Origin::Live
        } else if began.saturating_sub(seen.asked) < self.terms.fresh {
            Origin::Cached
        } else {
            Origin::Stale
        };
        Ok(seen.item.map(|(stock, price)| Figure {
            connector: self.name.clone(),
            origin,
            as_of: seen.as_of,
            stock,
            price,
        }))
    }
}
