//! The products of connectors, read now and then, to be found in what people write.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use allai_connectors::{Connector, Erp};
use futures_util::FutureExt as _;
use tokio::sync::watch;

use crate::automation::mentions::{Catalogue, Product};
use crate::automation::step::Failure;
use crate::clock::SharedClock;

/// How long a catalogue is used before it is read again.
const FRESH: Duration = Duration::from_mins(15);
/// After it could not be read, it is tried again no sooner.
const AGAIN: Duration = Duration::from_secs(10);
/// So many SKUs are asked for at a time.
const PIECE: usize = 100;
/// At most so many products are known: what a text is compared with is in memory.
const MOST: usize = 20_000;

/// The catalogues that were read.
#[derive(Clone, Debug)]
pub(in crate::automation) struct Catalogues {
    connectors: Arc<BTreeMap<String, Arc<dyn Connector>>>,
    clock: SharedClock,
    shelves: Arc<BTreeMap<String, watch::Sender<Shelf>>>,
}

/// One connector's.
#[derive(Debug, Default)]
struct Shelf {
    catalogue: Option<Arc<Catalogue>>,
    /// When it is to be read again.
    due_at: Duration,
    /// Whether it is being read.
    reading: bool,
    /// Why it could not be read.
    problem: Option<Failure>,
}

impl Catalogues {
    pub(in crate::automation) fn new(
        connectors: Arc<BTreeMap<String, Arc<dyn Connector>>>,
        clock: &SharedClock,
    ) -> Self {
        let shelves = connectors.keys().map(|name| (name.clone(), watch::Sender::default()));
        Self {
            clock: Arc::clone(clock),
            shelves: Arc::new(shelves.collect()),
            connectors,
        }
    }

    /// The catalogue of a connector. One that is old is better than to wait, and is read again meanwhile; many who ask at once are
    /// one reading, which goes on when they have given up.
    pub(in crate::automation) async fn of(&self, name: &str) -> Result<Arc<Catalogue>, Failure> {
        let place = self.shelves.get(name).ok_or_else(|| no_products(name))?;
        let now = self.clock.monotonic();
        let begins = place.send_if_modified(|kept| {
            let is_due = !kept.reading && now >= kept.due_at;
            kept.reading |= is_due;
            is_due
        });
        if begins {
            let (catalogues, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move { catalogues.refresh(&name).await });
        }
        let mut news = place.subscribe();
        let kept = news
            .wait_for(|kept| kept.catalogue.is_some() || !kept.reading)
            .await
            .map_err(|_| no_products(name))?;
        match (&kept.catalogue, &kept.problem) {
            (Some(catalogue), _) => Ok(Arc::clone(catalogue)),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err(Failure::passing("the products are not read yet")),
        }
    }

    async fn refresh(&self, name: &str) {
        let reading = AssertUnwindSafe(self.read(name)).catch_unwind();
        let broke_off = |_| Err(Failure::passing("reading the products broke off; please report this"));
        let read = reading.await.unwrap_or_else(broke_off);
        if let Err(problem) = &read {
            tracing::warn!(connector.name = name, "its products could not be read: {problem}");
        }
        let now = self.clock.monotonic();
        let Some(place) = self.shelves.get(name) else { return };
        place.send_modify(|kept| {
            kept.reading = false;
            match read {
                Ok(catalogue) => {
                    kept.catalogue = Some(Arc::new(catalogue));
                    kept.due_at = now + FRESH;
                    kept.problem = None;
                }
                Err(problem) => {
                    kept.due_at = now + AGAIN;
                    kept.problem = Some(problem);
                }
            }
        });
    }

    async fn read(&self, name: &str) -> Result<Catalogue, Failure> {
        let connector = self.connectors.get(name).and_then(|connector| connector.erp());
        let erp: &dyn Erp = connector.ok_or_else(|| no_products(name))?;
        let mut products: Vec<Product> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let skus = erp.skus(after.as_deref(), PIECE).await?;
            let Some(last) = skus.last() else { break };
            after = Some(last.clone());
            let known = erp.stock(&skus).await?;
            products.extend(known.into_iter().map(|stock| Product {
                sku: stock.item.sku,
                name: stock.item.name.unwrap_or_default(),
            }));
            if products.len() >= MOST {
                tracing::warn!(
                    connector.name = name,
                    "it has more than {MOST} products: those behind are not found in texts"
                );
                products.truncate(MOST);
                break;
            }
        }
        Ok(Catalogue::new(products))
    }
}

fn no_products(name: &str) -> Failure {
    Failure::lasting(format!("{name} knows no products"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use allai_connectors::{Capabilities, Check, Error, Item, Kind, Price, PriceQuery, Stock};
    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::clock::VirtualClock;

    /// An ERP of one product, which answers when it is let.
    #[derive(Debug)]
    struct Slow {
        answers: Semaphore,
        asked: AtomicUsize,
        fails: AtomicBool,
    }

    #[async_trait]
    impl Connector for Slow {
        fn kind(&self) -> Kind {
            Kind::Sql
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }
        async fn check(&self) -> Vec<Check> {
            Vec::new()
        }
        fn erp(&self) -> Option<&dyn Erp> {
            Some(self)
        }
    }

    #[async_trait]
    impl Erp for Slow {
        async fn search(&self, _: &str, _: usize) -> Result<Vec<Item>, Error> {
            Ok(Vec::new())
        }
        async fn stock(&self, _: &[String]) -> Result<Vec<Stock>, Error> {
            Ok(Vec::new())
        }
        async fn prices(&self, _: &[String], _: &PriceQuery) -> Result<Vec<Price>, Error> {
            Ok(Vec::new())
        }
        async fn skus(&self, after: Option<&str>, _: usize) -> Result<Vec<String>, Error> {
            if after.is_some() {
                return Ok(Vec::new());
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.answers.acquire().await.unwrap().forget();
            if self.fails.load(Ordering::Relaxed) {
                return Err(Error::Unsupported {
                    system: "slow",
                    doing: "anything".to_owned(),
                });
            }
            Ok(vec!["A".to_owned()])
        }
    }

    #[tokio::test]
    async fn an_old_catalogue_is_used_while_it_is_read_again_and_reading_goes_on_when_nobody_waits() {
        let slow = Arc::new(Slow {
            answers: Semaphore::new(0),
            asked: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        });
        let connectors = BTreeMap::from([("erp".to_owned(), Arc::clone(&slow) as Arc<dyn Connector>)]);
        let time = VirtualClock::new("2026-01-19T10:00:00Z".parse().unwrap());
        let catalogues = Catalogues::new(Arc::new(connectors), &time.shared());
        let asked = || slow.asked.load(Ordering::Relaxed);

        // Who asks first gives up; the next one finds what was begun.
        assert!(catalogues.of("erp").now_or_never().is_none());
        tokio::task::yield_now().await;
        slow.answers.add_permits(1);
        let first = catalogues.of("erp").await.unwrap();
        assert_eq!(asked(), 1);
        time.advance(FRESH);
        let second = catalogues.of("erp").now_or_never().unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        tokio::task::yield_now().await;
        assert_eq!(asked(), 2);
        // It fails: what was known is still used, and it is not asked again at once.
        slow.fails.store(true, Ordering::Relaxed);
        slow.answers.add_permits(1);
        for _ in 0..10 {
            tokio::task::yield_now().await;
            assert!(Arc::ptr_eq(&first, &catalogues.of("erp").await.unwrap()));
        }
        assert_eq!(asked(), 2);
        time.advance(AGAIN);
        assert!(Arc::ptr_eq(&first, &catalogues.of("erp").await.unwrap()));
        tokio::task::yield_now().await;
        assert_eq!(asked(), 3);
    }
}
