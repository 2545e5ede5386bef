//! What of a database is needed with every question: the language, the company, the warehouses, what is known of products.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::rpc::Call;
use super::{Odoo, SYSTEM, values};
use crate::error::Error;
use crate::settings::Company;
use crate::time::monotonic;

/// For how long it is believed. Somebody who adds a warehouse sees it after that.
const FRESH: Duration = Duration::from_mins(5);
pub(super) const PRODUCT: &str = "product.product";
const WAREHOUSE: &str = "stock.warehouse";

/// The fields of a product that not every version has, or not without an app.
const PRODUCT_FIELDS: [&str; 8] = [
    "type",
    "is_storable",
    "qty_available",
    "virtual_available",
    "price",
    "currency_id",
    "taxes_id",
    "barcode",
];

/// What was learnt, and when.
#[derive(Debug, Default)]
pub(super) struct SetupCache(Mutex<Option<(Instant, Arc<Setup>)>>);

/// What of a database is needed with every question.
#[derive(Debug)]
pub(super) struct Setup {
    /// The user's language, in which names are told.
    language: Option<String>,
    /// The company whose stock and prices count: its number and name.
    pub(super) company: Option<(i64, String)>,
    /// Whether the configuration names it; else it is the user's.
    is_company_named: bool,
    /// Which of [`PRODUCT_FIELDS`] there are; none without products.
    product: BTreeSet<String>,
    /// The warehouses that count, by code.
    pub(super) warehouses: Vec<WarehouseRow>,
    /// Those that the configuration names and that are not there.
    pub(super) missing: Vec<String>,
}

/// A warehouse.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WarehouseRow {
    pub(super) id: i64,
    code: Value,
    name: Value,
}

impl WarehouseRow {
    /// Its code, or its number if it has none.
    pub(super) fn code(&self) -> String {
        values::text(&self.code).map_or_else(|| self.id.to_string(), str::to_owned)
    }

    pub(super) fn name(&self) -> Option<String> {
        values::text(&self.name).map(str::to_owned)
    }

    fn is_named(&self, name: &str) -> bool {
        self.code() == name || values::text(&self.name) == Some(name)
    }
}

impl Setup {
    /// Whether products have this field.
    pub(super) fn has(&self, field: &str) -> bool {
        self.product.contains(field)
    }

    /// Whether stock is kept.
    pub(super) fn has_stock(&self) -> bool {
        self.has("qty_available")
    }

    /// The context of a question about contacts or leads, with these members besides. They are of all companies that the user
    /// may see, unless the configuration names one.
    pub(super) fn context(&self, more: &[(&str, Value)]) -> Value {
        self.context_of(self.company.as_ref().filter(|_| self.is_company_named), more)
    }

    /// The context of a question about products, which are one company's.
    pub(super) fn product_context(&self, more: &[(&str, Value)]) -> Value {
        self.context_of(self.company.as_ref(), more)
    }

    fn context_of(&self, company: Option<&(i64, String)>, more: &[(&str, Value)]) -> Value {
        let mut context = Map::new();
        if let Some(language) = &self.language {
            context.insert("lang".to_owned(), json!(language));
        }
        if let Some((company, _)) = company {
            // The one up to 12, the other from 13 on.
            context.insert("force_company".to_owned(), json!(company));
            context.insert("allowed_company_ids".to_owned(), json!([company]));
        }
        context.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Value::Object(context)
    }
}

impl Odoo {
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
        let user: Value = self.rpc.call(Call::new("res.users", "context_get")).await?;
        let mut setup = Setup {
            language: values::text(&user["lang"]).map(str::to_owned),
            company: self.read_company(&user).await?,
            is_company_named: self.config.company.is_some(),
            product: BTreeSet::new(),
            warehouses: Vec::new(),
            missing: Vec::new(),
        };
        let described = Call::new(PRODUCT, "fields_get")
            .with("allfields", json!(PRODUCT_FIELDS))
            .with("attributes", json!(["type"]));
        let described: Result<BTreeMap<String, Value>, Error> = self.rpc.call(described).await;
        setup.product = match described {
            // Whoever has only contacts, or may see only those, has no products.
            Err(Error::Unsupported { .. } | Error::Forbidden { .. }) => BTreeSet::new(),
            other => other?.into_keys().collect(),
        };
        if setup.has_stock() {
            self.read_warehouses(&mut setup).await?;
        }
        Ok(setup)
    }

    /// The company that the configuration names, or else the user's.
    async fn read_company(&self, user: &Value) -> Result<Option<(i64, String)>, Error> {
        let (model, domain, field) = match &self.config.company {
            Some(Company::Id(id)) => ("res.company", json!([["id", "=", id]]), "name"),
            Some(Company::Name(name)) => ("res.company", json!([["name", "=", name]]), "name"),
            None => {
                let own = match user["uid"].as_i64() {
                    Some(user) => Some(user),
                    None => self.rpc.user().await?,
                };
                let Some(own) = own else { return Ok(None) };
                ("res.users", json!([["id", "=", own]]), "company_id")
            }
        };
        let call = Call::search_read(model, domain, &[field]).with("limit", json!(2));
        let rows: Vec<Value> = self.rpc.call(call).await?;
        let [row] = rows.as_slice() else {
            return Err(if rows.is_empty() {
                Error::NotFound {
                    system: SYSTEM,
                    what: "such company that the user may see; correct company".to_owned(),
                }
            } else {
                Error::Conflict {
                    system: SYSTEM,
                    message: "several companies have this name; give company its number".to_owned(),
                }
            });
        };
        let company = match field {
            "name" => row["id"].as_i64().zip(values::text(&row["name"])),
            _ => values::related(&row[field]).zip(values::related_name(&row[field])),
        };
        Ok(company.map(|(id, name)| (id, name.to_owned())))
    }

    async fn read_warehouses(&self, setup: &mut Setup) -> Result<(), Error> {
        let domain = match &setup.company {
            Some((company, _)) => json!([["company_id", "=", company]]),
            None => json!([]),
        };
        let call = Call::search_read(WAREHOUSE, domain, &["code", "name"]).context(setup.product_context(&[]));
        let all: Result<Vec<WarehouseRow>, Error> = self.rpc.call(call).await;
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
