//! One connector's stock: what is known of it, and who is asking.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allai_connectors::{Connector, Error, Price, PriceQuery, Stock};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _};
use moka::sync::Cache;
use tokio::sync::{Semaphore, watch};

use super::answer::{Figure, Origin, Told};
use super::breaker::Breaker;
use super::{MOST_SKUS, Terms};
use crate::clock::SharedClock;
use crate::metrics;

/// Requests under way at once. What is asked for meanwhile goes together with the next.
const AT_ONCE: usize = 2;
/// The same, of SKUs that are asked for one by one because they cannot be asked for together.
const ONE_BY_ONE: usize = 4;
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
    /// How many are asked for together: fewer where that took too long.
    together: usize,
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
    /// When it was asked for, and when it was answered, by the monotonic clock.
    asked: Duration,
    answered: Duration,
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
            asking: Mutex::new(Asking {
                together: MOST_SKUS,
                ..Asking::default()
            }),
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
        let to_ask: Vec<Arc<str>> = skus.iter().filter(|sku| !sku.is_empty()).cloned().collect();
        let mut answered = inner.answered.subscribe();
        if self.ask_for(&to_ask, began) {
            // Whoever gives up does not take back what others wait for.
            let source = self.clone();
            tokio::spawn(async move { source.ask().await });
        }
        let waiting = async {
            while inner.is_asking(&to_ask) {
                if answered.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = waiting => {}
            () = inner.clock.sleep(inner.terms.deadline) => {}
        }
        let told: Vec<Told> = skus.iter().map(|sku| inner.told(sku, began)).collect();
        for told in &told {
            let figure = told.as_ref().ok().and_then(Option::as_ref);
            metrics::stock_looked_up(&inner.name, figure.map(|figure| figure.origin.as_str()));
        }
        told
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
                let some = asking.queue.len().min(asking.together);
                asking.queue.drain(..some).collect()
            };
            if skus.is_empty() {
                return;
            }
            let batch = Batch { inner, skus };
            let began = inner.clock.monotonic();
            tokio::select! {
                biased;
                () = inner.fetch(&batch.skus) => {}
                () = inner.clock.sleep(inner.terms.deadline) => inner.give_up(&batch.skus, began),
            }
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

/// Stock and prices, by the SKU that was asked for; several where it is not only one product's.
#[derive(Default)]
struct Fetched {
    stock: HashMap<String, Vec<Stock>>,
    prices: HashMap<String, Vec<Price>>,
}

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

    fn several(&self, products: usize) -> Error {
        Error::Conflict {
            system: self.connector.kind().as_str(),
            message: format!("{products} products have this code; which is meant is not guessed"),
        }
    }

    /// Asks for SKUs, together or, if one of them may be what the system does not like, one by one; notes each as it is known.
    async fn fetch(&self, skus: &[Arc<str>]) {
        let asked = (self.clock.monotonic(), self.clock.now());
        match self.fetch_together(skus).await {
            Err(error) if skus.len() > 1 && !error.is_outage() && !matches!(error, Error::Auth { .. }) => {
                let each = skus.iter().map(|sku| async move {
                    let asked = (self.clock.monotonic(), self.clock.now());
                    let alone = std::slice::from_ref(sku);
                    self.note(alone, asked, self.fetch_together(alone).await);
                });
                let each: Vec<_> = each.collect();
                stream::iter(each).buffer_unordered(ONE_BY_ONE).collect::<()>().await;
            }
            outcome => self.note(skus, asked, outcome),
        }
    }

    async fn fetch_together(&self, skus: &[Arc<str>]) -> Result<Fetched, Error> {
        let skus: Vec<String> = skus.iter().map(|sku| (**sku).to_owned()).collect();
        let skus = &skus[..];
        let Some(erp) = self.connector.erp() else {
            return Ok(Fetched::default());
        };
        let prices = async {
            if !self.connector.capabilities().prices {
                return Vec::new();
            }
            let query = PriceQuery::default();
            let prices = tokio::select! {
                biased;
                prices = erp.prices(skus, &query) => prices,
                // Better the stock alone than nothing.
                () = self.clock.sleep(self.terms.deadline.mul_f32(0.8)) => Err(self.too_late()),
            };
            prices.unwrap_or_else(|error| {
                tracing::debug!(connector.name = self.name, %error, "prices are not known");
                Vec::new()
            })
        };
        let (stock, prices) = tokio::join!(erp.stock(skus), prices);
        let mut fetched = Fetched::default();
        for stock in stock? {
            fetched.stock.entry(stock.asked.clone()).or_default().push(stock);
        }
        for price in prices {
            fetched.prices.entry(price.asked.clone()).or_default().push(price);
        }
        Ok(fetched)
    }

    /// Notes what became of SKUs.
    fn note(&self, skus: &[Arc<str>], (asked, at): (Duration, DateTime<Utc>), outcome: Result<Fetched, Error>) {
        let answered = self.clock.monotonic();
        match outcome {
            Ok(mut fetched) => {
                for sku in skus {
                    let mut stock = fetched.stock.remove(&**sku).unwrap_or_default();
                    let mut prices = fetched.prices.remove(&**sku).unwrap_or_default();
                    if stock.len() > 1 {
                        self.known.insert(Arc::clone(sku), Known::default());
                        self.remember(std::slice::from_ref(sku), answered, self.several(stock.len()));
                        continue;
                    }
                    let stock = stock.pop();
                    // Which of several prices counts is not known.
                    let price = prices.pop().filter(|_| prices.is_empty());
                    let as_of = stock.as_ref().and_then(|stock| stock.as_of).unwrap_or(at);
                    let item = stock.map(|stock| (Arc::new(stock), price.map(Arc::new)));
                    let seen = Some(Seen {
                        asked,
                        answered,
                        as_of,
                        item,
                    });
                    self.known.insert(Arc::clone(sku), Known { seen, trouble: None });
                }
                let mut asking = self.lock();
                asking.together = self.fit(skus.len(), answered.saturating_sub(asked));
                metrics::connector(&self.name, true);
                if asking.breaker.answered() {
                    tracing::info!(connector.name = self.name, "the connector answers again");
                }
            }
            Err(error) => self.note_trouble(skus, error),
        }
    }

    fn note_trouble(&self, skus: &[Arc<str>], error: Error) {
        let now = self.clock.monotonic();
        let is_news = match &error {
            Error::Auth { .. } => self.lock().breaker.refused(now),
            error if error.is_outage() => self.lock().breaker.failed(now),
            _ => false,
        };
        if is_news {
            metrics::connector(&self.name, false);
            tracing::warn!(
                connector.name = self.name, %error,
                "the connector is left alone for a while; what is known of stock is told as stale"
            );
        }
        self.remember(skus, now, error);
    }

    fn remember(&self, skus: &[Arc<str>], now: Duration, error: Error) {
        let error = Arc::new(error);
        for sku in skus {
            let known = self.known.get(sku).unwrap_or_default();
            let trouble = Some((now, Arc::clone(&error)));
            self.known.insert(Arc::clone(sku), Known { trouble, ..known });
        }
    }

    /// How many SKUs probably take half of the deadline, where so many took so long.
    fn fit(&self, skus: usize, took: Duration) -> usize {
        let (half, took) = (self.terms.deadline.as_micros() / 2, took.as_micros().max(1));
        let fit = half.saturating_mul(skus as u128) / took;
        usize::try_from(fit).unwrap_or(MOST_SKUS).clamp(1, MOST_SKUS)
    }

    /// Notes that there was no time to learn of some of the SKUs. Where there were many, fewer are asked for next time; one
    /// that takes so long is as good as an outage.
    fn give_up(&self, skus: &[Arc<str>], began: Duration) {
        let is_late = |sku: &&Arc<str>| {
            let known = self.known.get(*sku).unwrap_or_default();
            known.seen.is_none_or(|seen| seen.answered < began) && known.trouble.is_none_or(|(at, _)| at < began)
        };
        let late: Vec<Arc<str>> = skus.iter().filter(is_late).cloned().collect();
        if skus.len() == 1 {
            self.note_trouble(&late, self.too_late());
        } else {
            self.remember(&late, self.clock.monotonic(), self.too_late());
            let mut asking = self.lock();
            asking.together = (asking.together / 4).max(1);
        }
    }

    /// What is known of a SKU, by somebody who began to ask then.
    fn told(&self, sku: &Arc<str>, began: Duration) -> Told {
        if sku.is_empty() {
            return Ok(None);
        }
        let known = self.known.get(sku).unwrap_or_default();
        let unknown = || {
            known
                .trouble
                .as_ref()
                .map_or_else(|| Arc::new(self.not_answered(sku)), |(_, error)| Arc::clone(error))
        };
        let Some(seen) = &known.seen else {
            return Err(unknown());
        };
        let age = began.saturating_sub(seen.asked);
        let origin = if seen.answered >= began {
            Origin::Live
        } else if age < self.terms.fresh {
            Origin::Cached
        } else {
            Origin::Stale
        };
        // What was not there then may be there now.
        if age > self.terms.kept || (origin == Origin::Stale && seen.item.is_none()) {
            return Err(unknown());
        }
        Ok(seen.item.as_ref().map(|(stock, price)| Figure {
            connector: self.name.clone(),
            origin,
            as_of: seen.as_of,
            stock: Arc::clone(stock),
            price: price.clone(),
        }))
    }

    /// Why nothing is known of a SKU, beside what was answered.
    fn not_answered(&self, sku: &Arc<str>) -> Error {
        if self.lock().skus.contains(sku) {
            return self.too_late();
        }
        Error::Transient {
            system: self.connector.kind().as_str(),
            message: "did not answer lately, and is asked again in a moment".to_owned(),
            may_have_happened: false,
        }
    }
}
