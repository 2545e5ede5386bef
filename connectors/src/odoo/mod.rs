//! Odoo, from 11: one abstraction over two ways to ask. Tested against a real 11; what 12 to 18 do differently, and JSON-2 (from
//! 19 on), are written from their documentation and sources and not yet verified against a live system.
//!
//! Facts that shaped it, seen on a real 11 unless a version is named:
//!
//! - JSON-RPC (`/jsonrpc`) is deprecated from 19 on and to go in 22; JSON-2 (`POST /json/2/<model>/<method>`) begins with 19. Both
//!   call the same methods, the one by position, the other by the names of the arguments, which differ between versions: see
//!   `rpc::Call`.
//! - Errors of JSON-RPC come with status 200 and an `error`, but for the first call after a start, which may be answered by a page
//!   with status 500. A wrong password is a `false` at login, and `AccessDenied` afterwards. See `failure`.
//! - The stock of one warehouse is told if the context names it as `warehouse`, from 18 on as `warehouse_id`. Under the wrong name
//!   all warehouses' stock is told instead, and no error; so both are sent.
//! - Fields were renamed from version to version (`planned_revenue` is `expected_revenue` from 14 on). `fields_get` tells which
//!   there are; the newest name is the one that is told here, whatever the version. See `model`.
//! - `write_date` is told in whole seconds and kept in microseconds, by which it sorts: see `changes`.
//! - An empty value is `false`, whatever the field's type.

mod changes;
mod check;
mod config;
mod crm;
mod erp;
mod failure;
mod model;
mod rpc;
mod setup;
mod values;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use config::OdooConfig;

use crate::error::Error;
use crate::records::{Capabilities, Check, Kind};
use crate::{Connector, Crm, Erp};
use model::Models;
use rpc::Rpc;
use setup::SetupCache;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Odoo.as_str();

/// An Odoo database.
#[derive(Debug)]
pub struct Odoo {
    config: OdooConfig,
    rpc: Rpc,
    setup: SetupCache,
    models: Models,
    /// One upsert at a time: two at once would both find nothing and both create.
    writing: Mutex<()>,
}

impl Odoo {
    /// A connector to what `config` names. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: OdooConfig) -> Result<Self, Error> {
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
impl Connector for Odoo {
    fn kind(&self) -> Kind {
        Kind::Odoo
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: true,
            stock: true,
            catalogue: true,
            warehouses: true,
            prices: true,
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
