//! The products of connectors, read now and then, to be found in what people write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allai_connectors::{Connector, Erp};
use tokio::sync::Mutex;

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
    read: Arc<BTreeMap<String, Mutex<Shelf>>>,
}

/// One connector's.
#[derive(Debug, Default)]
struct Shelf {
    catalogue: Option<Arc<Catalogue>>,
    /// When it is to be read again.
    due_at: Duration,
    /// Why it could not be read.
    problem: Option<Failure>,
}

impl Catalogues {
    pub(in crate::automation) fn new(
        connectors: Arc<BTreeMap<String, Arc<dyn Connector>>>,
        clock: &SharedClock,
    ) -> Self {
        let read = connectors.keys().map(|name| (name.clone(), Mutex::default()));
        Self {
            clock: Arc::clone(clock),
            read: Arc::new(read.collect()),
            connectors,
        }
    }

    /// The catalogue of a connector: one that is old is better than none. Many who ask at once are one reading.
    pub(in crate::automation) async fn of(&self, name: &str) -> Result<Arc<Catalogue>, Failure> {
        let kept = self.read.get(name);
        let mut kept = kept.ok_or_else(|| no_products(name))?.lock().await;
        let now = self.clock.monotonic();
        if now >= kept.due_at || (kept.catalogue.is_none() && kept.problem.is_none()) {
            match self.read(name).await {
                Ok(catalogue) => {
                    kept.catalogue = Some(Arc::new(catalogue));
                    kept.due_at = now + FRESH;
                    kept.problem = None;
                }
                Err(problem) => {
                    tracing::warn!(connector.name = name, "its products could not be read: {problem}");
                    kept.due_at = now + AGAIN;
                    kept.problem = Some(problem);
                }
            }
        }
        match (&kept.catalogue, &kept.problem) {
            (Some(catalogue), _) => Ok(Arc::clone(catalogue)),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err(Failure::passing("the products are not read yet")),
        }
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
