//! Exports that a system drops into a folder, for those that have no API: CSV, or DBF as SAGA and other FoxPro programs write it.
//!
//! ```toml
//! folder = "/srv/saga"
//!
//! [stock]
//! files = "stoc*.dbf"
//! encoding = "cp852"
//! columns = { sku = "COD", name = "DENUMIRE", uom = "UM", warehouse = "GESTIUNE", on_hand = "STOC", gross = "PRET_VANZ" }
//! ```
//!
//! Of the files whose names fit, the newest counts that is complete: one that was written to within `settle` is left to be
//! finished, and one that changes while it is read is read again later. A file that cannot be read to its end is bad as a
//! whole, and leaves the one before it in use; a check says so, with the line and what is wrong with it. What a file says was true
//! when it was last written: that is the `as_of` of its figures.
//!
//! A cell that is empty is not known. One that is to be a number and is none makes the file a bad one: a mistaken column or
//! decimal comma is to be seen. Rows of one product are one product, those in one warehouse are added up. A price of zero is what
//! such systems have where none was entered.

mod check;
mod config;
mod dbf;
mod folder;
mod table;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rust_decimal::Decimal;

pub use config::{Encoding, FilesConfig, Format, TableConfig};

use crate::catalogue::{Catalogue, askable, is_searchable};
use crate::error::Error;
use crate::records::{Capabilities, Check, Item, Kind, Price, PriceQuery, Stock};
use crate::{Connector, Erp};
use folder::Folder;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Files.as_str();

/// A value of the configuration that cannot be used.
fn refused(key: &str, message: impl Into<String>) -> Error {
    Error::Rejected {
        system: SYSTEM,
        field: Some(key.to_owned()),
        message: message.into(),
    }
}

/// A folder with exports.
pub struct Files {
    stock: Arc<Folder>,
    /// If prices have files of their own.
    prices: Option<Arc<Folder>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("stock", &self.stock)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// A connector to what `config` names. Reads nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: &FilesConfig) -> Result<Self, Error> {
        let folder = |key: &'static str, table: &TableConfig| {
            table.validate(key)?;
            Ok(Arc::new(Folder::new(key, config, table.clone())))
        };
        Ok(Self {
            stock: folder("stock", &config.stock)?,
            prices: config
                .prices
                .as_ref()
                .map(|prices| folder("prices", prices))
                .transpose()?,
        })
    }

    /// The folder that tells prices, if one does.
    fn priced(&self) -> Option<&Arc<Folder>> {
        self.prices
            .as_ref()
            .or_else(|| self.stock.table().tells_prices().then_some(&self.stock))
    }
}

/// What the newest good file of a folder says. Files are read where waiting for the disk holds nobody up.
async fn current(folder: &Arc<Folder>) -> Result<Arc<Catalogue>, Error> {
    let folder = Arc::clone(folder);
    tokio::task::spawn_blocking(move || folder.current())
        .await
        .unwrap_or_else(|error| {
            Err(Error::Transient {
                system: SYSTEM,
                message: format!("cannot be read: {error}"),
                may_have_happened: false,
            })
        })
}

#[async_trait]
impl Connector for Files {
    fn kind(&self) -> Kind {
        Kind::Files
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: true,
            stock: self.stock.table().has("on_hand"),
            warehouses: self.stock.table().has("warehouse"),
            prices: self.priced().is_some(),
            catalogue: true,
            ..Capabilities::default()
        }
    }

    async fn check(&self) -> Vec<Check> {
        self.checks().await
    }

    fn erp(&self) -> Option<&dyn Erp> {
        Some(self)
    }
}

#[async_trait]
impl Erp for Files {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        if limit == 0 || !is_searchable(words) {
            return Ok(Vec::new());
        }
        Ok(current(&self.stock).await?.search(words, limit))
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let skus = askable(skus);
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let catalogue = current(&self.stock).await?;
        Ok(skus.iter().flat_map(|sku| catalogue.stock(sku)).collect())
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        Ok(current(&self.stock).await?.codes(after, limit))
    }

    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error> {
        let unsupported = |doing: &str| Error::Unsupported {
            system: SYSTEM,
            doing: doing.to_owned(),
        };
        let folder = self
            .priced()
            .ok_or_else(|| unsupported("tell prices: no column of the files is net or gross"))?;
        if query.quantity.is_some_and(|quantity| quantity <= Decimal::ZERO) {
            return Err(refused("quantity", "it is not more than zero"));
        }
        if query.price_list.is_some() {
            return Err(unsupported("use price lists: the files have one price"));
        }
        let skus = askable(skus);
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let catalogue = current(folder).await?;
        Ok(skus.iter().flat_map(|sku| catalogue.prices(sku)).collect())
    }
}
