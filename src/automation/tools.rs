//! What steps work with: the account's API, the company's systems, the mirror.

pub(super) mod catalogues;
pub(super) mod outside;

use std::collections::BTreeMap;
use std::sync::Arc;

use allai_connectors::Connector;

use self::catalogues::Catalogues;
use super::mentions::Catalogue;
use super::step::Failure;
use crate::allai::{Client, Priority};
use crate::clock::SharedClock;
use crate::stock::Stocks;
use crate::warehouse::Warehouse;

/// What the steps of one account's rules work with.
#[derive(Clone, Debug)]
pub struct Tools {
    pub(super) client: Client,
    pub(super) warehouse: Warehouse,
    pub(super) stocks: Stocks,
    connectors: Arc<BTreeMap<String, Arc<dyn Connector>>>,
    catalogues: Catalogues,
}

impl Tools {
    /// These, with the highest priority in the account's budget: somebody waits for an answer.
    pub fn new(
        client: &Client,
        warehouse: &Warehouse,
        stocks: &Stocks,
        connectors: BTreeMap<String, Arc<dyn Connector>>,
        clock: &SharedClock,
    ) -> Self {
        let connectors = Arc::new(connectors);
        Self {
            client: client.with_priority(Priority::Event),
            warehouse: warehouse.clone(),
            stocks: stocks.clone(),
            catalogues: Catalogues::new(Arc::clone(&connectors), clock),
            connectors,
        }
    }

    /// The connector of this name.
    pub(super) fn connector(&self, name: &str) -> Result<&Arc<dyn Connector>, Failure> {
        self.connectors
            .get(name)
            .ok_or_else(|| Failure::lasting(format!("there is no connector {name}")))
    }

    /// The products of a connector.
    pub(super) async fn catalogue(&self, connector: &str) -> Result<Arc<Catalogue>, Failure> {
        self.catalogues.of(connector).await
    }
}
