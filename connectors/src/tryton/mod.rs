//! Tryton, over its JSON-RPC; tested against 8.2.
//!
//! Facts that shaped it, seen on a real 8.2:
//!
//! - A call with basic authentication costs 0.3 to 0.5 s, because the password is hashed; one with a session 0.05 s. So it
//!   logs in once, and again when the session has ended (401).
//! - Most failures come with status 200 and an `error`: a pair of a name and its arguments for what Tryton foresees
//!   (`UserError`, `UserWarning`, `ConcurrencyException`), else the text of a Python exception. See `rpc`.
//! - Quantities need the locations, prices the company in the context; without them they are 0 and null, not an error.
//! - A value that is an object with `__class__` becomes something else on the server. Only values whose type was checked
//!   are sent, see `values`.
//! - A change of a contact mechanism does not touch its party's `write_date`: see `changes`.

mod changes;
mod check;
mod config;
mod crm;
mod erp;
mod model;
mod rpc;
mod setup;
mod values;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use config::{Company, TrytonConfig};

use crate::error::Error;
use crate::records::{Capabilities, Check, Kind};
use crate::{Connector, Crm, Erp};
use model::Models;
use rpc::Rpc;
use setup::SetupCache;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Tryton.as_str();

/// A Tryton database.
#[derive(Debug)]
pub struct Tryton {
    config: TrytonConfig,
    rpc: Rpc,
    setup: SetupCache,
    models: Models,
    /// One upsert at a time: two at once would both find nothing and both create.
    writing: Mutex<()>,
}

impl Tryton {
    /// A connector to what `config` names. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: TrytonConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            rpc: Rpc::new(&config)?,
            setup: SetupCache::default(),
            models: Models::default(),
            writing: Mutex::new(()),
            config,
        })
    }
}

#[async_trait]
impl Connector for Tryton {
    fn kind(&self) -> Kind {
        Kind::Tryton
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: true,
            stock: true,
            warehouses: true,
            prices: true,
            catalogue: true,
            contacts: true,
            leads: true,
            changes: true,
        }
    }

    async fn check(&self) -> Vec<Check> {
        self.checks().await
    }

    fn erp(&self) -> Option<&dyn Erp> {
        Some(self)
    }

    fn crm(&self) -> Option<&dyn Crm> {
        Some(self)
    }
}
