//! ERPs and CRMs behind three small traits.
//!
//! A [`Connector`] is a company's system: it says what it can do and checks its own configuration. An [`Erp`] answers what is
//! on stock and at what price; a [`Crm`] keeps contacts and leads. Each vendor is a folder that turns its own protocol into
//! the records of this page, and its own failures into [`Error`], by which callers decide: ask again, tell the administrator,
//! or give up.
//!
//! Three rules hold everywhere. A figure that is not known is `None`, never zero. What a system finds ambiguous is returned as
//! it is, several records, never the likeliest one. Words and values that come from chats are data: they are bound or encoded,
//! never put into a query or a filter as text.
//!
//! # One more system
//!
//! Add a folder with a configuration (serde, unknown keys refused) and a type that implements [`Connector`] and one of the
//! other two; name it in [`Kind`]; pass the conformance suite in `tests/`. `docs/connectors.md` has it at length.

mod catalogue;
mod error;
pub mod files;
pub mod http;
pub mod hubspot;
mod keys;
mod lenient;
pub mod oblio;
pub mod odoo;
pub mod pipedrive;
mod records;
pub mod rest;
mod settings;
pub mod smartbill;
pub mod sql;
mod stored;
mod time;
mod together;
pub mod tryton;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

pub use error::Error;
pub use records::{
    Capabilities, Changes, Check, Entity, Field, FieldType, Fields, Figures, Found, Item, Key, Kind, Price, PriceQuery,
    Record, Row, Stock, Upserted, Warehouse,
};

/// What every connector can do.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync {
    /// Which system it connects to.
    fn kind(&self) -> Kind;

    /// What the system can do, as it is configured.
    fn capabilities(&self) -> Capabilities;

    /// Verifies what it needs, one entry each: that it is reached, the credentials, the version, the permissions, and that
    /// what the configuration names exists there. Changes nothing.
    async fn check(&self) -> Vec<Check>;

    /// The connector as an ERP, if it is one.
    fn erp(&self) -> Option<&dyn Erp> {
        None
    }

    /// The connector as a CRM, if it is one.
    fn crm(&self) -> Option<&dyn Crm> {
        None
    }

    /// The administrator's own queries, by name, each with the names of its parameters.
    fn queries(&self) -> BTreeMap<&str, &[String]> {
        BTreeMap::new()
    }

    /// Asks one of [`queries`](Self::queries); a parameter that is not given is NULL.
    ///
    /// # Errors
    ///
    /// Finding nothing is no row, not an error.
    async fn query(&self, name: &str, parameters: &BTreeMap<String, String>) -> Result<Vec<Row>, Error> {
        let _ = (name, parameters);
        Err(Error::Unsupported {
            system: self.kind().as_str(),
            doing: "be asked by queries of one's own".to_owned(),
        })
    }
}

/// A system that knows products.
#[async_trait]
pub trait Erp: Connector {
    /// The items that have these words in their name, or this SKU or barcode; at most `limit`, the exact ones first.
    ///
    /// # Errors
    ///
    /// Finding none is an empty list, not an error.
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error>;

    /// What is on stock of these SKUs, in as few requests as the system allows. SKUs are compared as the system compares
    /// them; each answer names the one it was asked for. Those that are not known are left out.
    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error>;

    /// Prices of these SKUs; those that have none are left out.
    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error>;

    /// The SKUs that there are, each once, in an order of the system's own: at most `limit` of those behind `after`, where
    /// `None` begins with the first. None at all: there are no more. See [`Capabilities::catalogue`].
    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let _ = (after, limit);
        Err(Error::Unsupported {
            system: self.kind().as_str(),
            doing: "list its products".to_owned(),
        })
    }
}

/// A system that keeps contacts and leads.
#[async_trait]
pub trait Crm: Connector {
    /// The fields of an entity, as the system describes them.
    async fn describe(&self, entity: Entity) -> Result<Vec<Field>, Error>;

    /// The records that have this key; several if the system does not keep it unique.
    async fn find(&self, entity: Entity, key: &Key) -> Result<Vec<Record>, Error>;

    /// Creates a record, or changes the one that has the key; of several it changes none ([`Error::Conflict`]). Repeated, it
    /// changes nothing more: a record that an earlier, unanswered call created is found by its key.
    async fn upsert(&self, entity: Entity, key: &Key, fields: &Fields) -> Result<Upserted, Error>;

    /// Records that changed since `cursor`, oldest first; `None` begins with all. A record may come again, and a deletion
    /// never does: nothing is to be inferred from a record that does not come.
    async fn changes_since(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error>;
}
