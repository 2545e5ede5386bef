//! What of a database is needed with every question: the company, its currency, the warehouses, the modules.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::config::Company;
use super::rpc::Effect;
use super::{SYSTEM, Tryton};
use crate::error::Error;
use crate::time::monotonic;

/// For how long it is believed. Somebody who adds a warehouse sees it after that.
const FRESH: Duration = Duration::from_mins(5);

/// What was learnt, and when.
#[derive(Debug, Default)]
pub(super) struct SetupCache(Mutex<Option<(Instant, Arc<Setup>)>>);

/// What of a database is needed with every question.
#[derive(Debug)]
pub(super) struct Setup {
    /// The company's number.
    pub(super) company: i64,
    /// Its name.
    pub(super) company_name: String,
    /// Its currency, ISO 4217.
    pub(super) currency: Option<String>,
    /// The currency's decimals.
    pub(super) digits: u32,
    /// The warehouses that count, by code.
    pub(super) warehouses: Vec<WarehouseRow>,
    /// Those that the configuration names and that are not there.
    pub(super) missing: Vec<String>,
    /// The activated modules; empty if the user may not see them.
    modules: BTreeSet<String>,
}

/// A warehouse.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WarehouseRow {
    pub(super) id: i64,
    code: Option<String>,
    pub(super) name: Option<String>,
}

impl WarehouseRow {
    /// Its code, or its number if it has none.
    pub(super) fn code(&self) -> String {
        match &self.code {
            Some(code) if !code.is_empty() => code.clone(),
            _ => self.id.to_string(),
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.code() == name || self.name.as_deref() == Some(name)
    }
}

impl Setup {
    /// Whether a module is activated; yes, if the user may not see which are.
    pub(super) fn has(&self, module: &str) -> bool {
        self.modules.is_empty() || self.modules.contains(module)
    }

    /// The context of a question: prices, and records of companies, depend on it.
    pub(super) fn context(&self) -> Value {
        json!({"company": self.company})
    }
}

impl Tryton {
    /// The setup, asked for if it is not known or not fresh.
    pub(super) async fn setup(&self) -> Result<Arc<Setup>, Error> {
        let mut cached = self.setup.0.lock().await;
        if let Some((at, setup)) = &*cached
            && monotonic().saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(setup));
        }
        let setup = Arc::new(self.read_setup().await?);
        *cached = Some((monotonic(), Arc::clone(&setup)));
        Ok(setup)
    }

    /// Forgets what was learnt.
    pub(super) async fn forget_setup(&self) {
        *self.setup.0.lock().await = None;
    }

    async fn read_setup(&self) -> Result<Setup, Error> {
        #[derive(Deserialize)]
        struct CompanyRow {
            id: i64,
            rec_name: String,
            #[serde(rename = "currency.")]
            currency: Option<CurrencyRow>,
        }
        #[derive(Deserialize)]
        struct CurrencyRow {
            code: Option<String>,
            digits: Option<u32>,
        }
        #[derive(Deserialize)]
        struct ModuleRow {
            name: String,
        }
        let domain = match &self.config.company {
            Some(Company::Id(id)) => json!([["id", "=", id]]),
            Some(Company::Name(name)) => json!([["rec_name", "=", name]]),
            None => json!([["id", "=", self.users_company().await?]]),
        };
        let params = json!([domain, 0, 2, null, ["rec_name", "currency.code", "currency.digits"], {}]);
        let companies: Vec<CompanyRow> = self
            .rpc
            .call("company.company", "search_read", params, Effect::Reads)
            .await?;
        let company = match <[CompanyRow; 1]>::try_from(companies) {
            Ok([company]) => company,
            Err(found) if found.is_empty() => {
                return Err(Error::NotFound {
                    system: SYSTEM,
                    what: "such company; correct company".to_owned(),
                });
            }
            Err(_) => {
                return Err(Error::Conflict {
                    system: SYSTEM,
                    message: "several companies have this name; give company its number".to_owned(),
                });
            }
        };
        let params = json!([
            [["state", "in", ["activated", "installed"]]],
            0,
            null,
            null,
            ["name"],
            {}
        ]);
        let modules = self.rpc.call("ir.module", "search_read", params, Effect::Reads).await;
        let modules: Vec<ModuleRow> = match modules {
            Err(Error::Forbidden { .. }) => Vec::new(),
            other => other?,
        };
        let modules: BTreeSet<String> = modules.into_iter().map(|module| module.name).collect();
        let mut setup = Setup {
            company: company.id,
            company_name: company.rec_name,
            digits: company.currency.as_ref().and_then(|row| row.digits).unwrap_or(2),
            currency: company
                .currency
                .and_then(|row| row.code)
                .filter(|code| !code.is_empty()),
            warehouses: Vec::new(),
            missing: Vec::new(),
            modules,
        };
        if setup.has("stock") {
            self.read_warehouses(&mut setup).await?;
        }
        Ok(setup)
    }

    async fn users_company(&self) -> Result<i64, Error> {
        let preferences: Value = self
            .rpc
            .call("res.user", "get_preferences", json!([true, {}]), Effect::Reads)
            .await?;
        preferences["company"].as_i64().ok_or_else(|| Error::Rejected {
            system: SYSTEM,
            field: Some("company".to_owned()),
            message: "the user has no company; give it one in Tryton, or name one here".to_owned(),
        })
    }

    async fn read_warehouses(&self, setup: &mut Setup) -> Result<(), Error> {
        let params = json!([
            [["type", "=", "warehouse"]],
            0,
            null,
            null,
            ["code", "name"],
            setup.context()
        ]);
        let all: Result<Vec<WarehouseRow>, Error> = self
            .rpc
            .call("stock.location", "search_read", params, Effect::Reads)
            .await;
        let mut all = match all {
            // Whoever may not see the stock may still see contacts: stock will say so.
            Err(Error::Forbidden { .. }) => Vec::new(),
            other => other?,
        };
        let named = &self.config.warehouses;
        setup.missing = named
            .iter()
            .filter(|name| !all.iter().any(|row| row.is_named(name)))
            .cloned()
            .collect();
        if !named.is_empty() {
            all.retain(|row| named.iter().any(|name| row.is_named(name)));
        }
        all.sort_by_key(|row| (row.code(), row.id));
        setup.warehouses = all;
        Ok(())
    }
}
