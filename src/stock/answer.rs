//! What is told of a SKU.

use std::sync::Arc;

use allai_connectors::{self as connectors, Error};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Failure;

/// What became of one SKU that was asked for.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The SKU, as it was asked for.
    pub sku: String,
    /// What is known; `None` if no connector knows the SKU.
    pub figure: Result<Option<Figure>, Failure>,
}

/// What a connector says of a SKU.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The connector's name.
    pub connector: String,
    /// Where it comes from.
    pub origin: Origin,
    /// When it was true.
    pub as_of: DateTime<Utc>,
    /// The stock.
    pub stock: Arc<connectors::Stock>,
    /// What it costs; `None` if that is not known.
    pub price: Option<Arc<connectors::Price>>,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was asked for just now.
    Live,
    /// It was asked for a moment ago.
    Cached,
    /// It is the last that is known, since the system does not answer.
    Stale,
}

impl Origin {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cached => "cached",
            Self::Stale => "stale",
        }
    }
}

/// What one source knows of a SKU.
pub(super) type Told = Result<Option<Figure>, Arc<Error>>;

impl Answer {
    /// The first that was found; else what went wrong, since it might have been found there; else that it was not found.
    pub(super) fn best<'n>(sku: &str, told: impl Iterator<Item = (&'n str, Told)>) -> Self {
        let mut failure = None;
        let mut found = None;
        for (connector, told) in told {
            match told {
                Ok(Some(figure)) => found = found.or(Some(figure)),
                Ok(None) => {}
                Err(error) => {
                    let connector = connector.to_owned();
                    failure = failure.or(Some(Failure::Connector { connector, error }));
                }
            }
        }
        let sku = sku.to_owned();
        let figure = match (found, failure) {
            (None, Some(failure)) => Err(failure),
            (found, _) => Ok(found),
        };
        Self { sku, figure }
    }
}

/// Answers as JSON, the form of `stock --json` and of `GET /api/v1/stock/{sku}`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One for each SKU, in their order.
    pub items: Vec<Item>,
}

/// One SKU. Quantities and money are decimal numbers as text; null is not known.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// The SKU, as it was asked for.
    pub sku: String,
    /// The product's name.
    pub name: Option<String>,
    /// Whether the SKU was found.
    pub found: bool,
    /// In all warehouses together.
    #[serde(flatten)]
    pub total: connectors::Figures,
    /// Unit of measure.
    pub uom: Option<String>,
    /// Warehouse by warehouse.
    pub warehouses: Vec<connectors::Warehouse>,
    /// What one unit costs.
    pub price: Option<connectors::Price>,
    /// When the figures were true.
    pub as_of: Option<DateTime<Utc>>,
    /// Where they come from.
    pub source: Option<Origin>,
    /// The connector that knows them.
    pub connector: Option<String>,
    /// Why they are not known, if something went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<&[Answer]> for Report {
    fn from(answers: &[Answer]) -> Self {
        Self {
            items: answers.iter().map(Item::from).collect(),
        }
    }
}

impl From<&Answer> for Item {
    fn from(answer: &Answer) -> Self {
        let mut item = Self {
            sku: answer.sku.clone(),
            name: None,
            found: false,
            total: connectors::Figures::default(),
            uom: None,
            warehouses: Vec::new(),
            price: None,
            as_of: None,
            source: None,
            connector: None,
            error: answer.figure.as_ref().err().map(ToString::to_string),
        };
        let Ok(Some(figure)) = &answer.figure else {
            return item;
        };
        let stock = &figure.stock;
        item.name.clone_from(&stock.item.name);
        item.found = true;
        item.total = stock.total;
        item.uom.clone_from(&stock.uom);
        item.warehouses.clone_from(&stock.warehouses);
        item.price = figure.price.as_deref().cloned();
        item.as_of = Some(figure.as_of);
        item.source = Some(figure.origin);
        item.connector = Some(figure.connector.clone());
        item
    }
}
