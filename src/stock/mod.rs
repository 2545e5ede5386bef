//! What is on stock, as the company's own systems say.
//!
//! [`Stocks::look_up`] asks each connector that knows stock, in the order of their names, until a SKU is found. What was asked a
//! moment ago is not asked again, many who ask for one SKU at a time are one request, and an ERP that does not answer holds
//! nobody up for longer than its deadline: then the last known figures are told, marked stale, with their age. A figure that
//! is not known is null, never zero.

mod answer;
mod breaker;
mod snapshot;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allai_connectors::{Connector, Error};
use futures_util::stream::{FuturesOrdered, StreamExt as _};

use crate::clock::SharedClock;
use answer::Told;
pub use answer::{Answer, Figure, Item, Origin, Report};
pub use snapshot::{Ended, Snapshots};
use source::Source;

/// The most SKUs that one call may ask for.
pub const MOST_SKUS: usize = 100;

/// How long figures are told, and waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// For how long a figure is told without asking again.
    pub fresh: Duration,
    /// For how long a figure is remembered, to be told while the ERP does not answer.
    pub kept: Duration,
    /// How long the ERP is waited for.
    pub deadline: Duration,
}

/// The connectors that know stock, by name. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Stocks {
    sources: Arc<BTreeMap<String, Source>>,
}

/// Why a SKU could not be looked up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// No connector knows stock.
    #[error("no connector knows stock: add one, e.g. [connectors.erp] with kind = \"sql\"")]
    NoConnector,
    /// There is none of that name.
    #[error("there is no connector \"{name}\" that knows stock; those that do: {}", .known.join(", "))]
    UnknownConnector {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The connector failed, and nothing is known from before.
    #[error("{connector}: {error}")]
    Connector {
        /// The connector's name.
        connector: String,
        /// What went wrong.
        error: Arc<Error>,
    },
}

impl Failure {
    /// Whether asking again later may help.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Connector { error, .. } if error.is_outage())
    }
}

impl Stocks {
    /// Those of `connectors` that know stock, each with its terms.
    pub fn new(connectors: impl IntoIterator<Item = (String, Arc<dyn Connector>, Terms)>, clock: &SharedClock) -> Self {
        let sources = connectors.into_iter().filter_map(|(name, connector, terms)| {
            let knows_stock = connector.capabilities().stock && connector.erp().is_some();
            knows_stock.then(|| (name.clone(), Source::new(name, connector, terms, clock)))
        });
        Self {
            sources: Arc::new(sources.collect()),
        }
    }

    /// The same, with what `before` knows of connectors that are as they were.
    #[must_use]
    pub fn keeping(&self, before: &Self, is_as_it_was: impl Fn(&str) -> bool) -> Self {
        let keep = |(name, source): (&String, &Source)| {
            let kept = before.sources.get(name).filter(|_| is_as_it_was(name));
            (name.clone(), kept.unwrap_or(source).clone())
        };
        Self {
            sources: Arc::new(self.sources.iter().map(keep).collect()),
        }
    }

    /// The names of the connectors that know stock.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// What is known of SKUs, in their order, of all connectors or of one; see the module's page.
    ///
    /// # Errors
    ///
    /// If there is no such connector. What goes wrong with a connector is part of the answers.
    pub async fn look_up(&self, skus: &[String], connector: Option<&str>) -> Result<Vec<Answer>, Failure> {
        let sources: Vec<&Source> = match connector {
            Some(name) => {
                let source = self.sources.get(name).ok_or_else(|| Failure::UnknownConnector {
                    name: name.to_owned(),
                    known: self.names().map(str::to_owned).collect(),
                })?;
                vec![source]
            }
            None => self.sources.values().collect(),
        };
        if sources.is_empty() {
            return Err(Failure::NoConnector);
        }
        // Side by side, and no longer than the first ones need that find everything.
        let mut asking: FuturesOrdered<_> = sources.iter().map(|source| source.look_up(skus)).collect();
        let mut told: Vec<Vec<Told>> = Vec::new();
        let is_found = |told: &[Vec<Told>], at: usize| told.iter().any(|told| matches!(told[at], Ok(Some(_))));
        while !(0..skus.len()).all(|at| is_found(&told, at))
            && let Some(next) = asking.next().await
        {
            told.push(next);
        }
        let mut told: Vec<_> = told.into_iter().map(Vec::into_iter).collect();
        let answers = skus.iter().map(|sku| {
            let of_sku = told.iter_mut().filter_map(Iterator::next);
            Answer::best(sku, of_sku.zip(&sources).map(|(told, source)| (source.name(), told)))
        });
        Ok(answers.collect())
    }
}

#[cfg(test)]
mod tests;
