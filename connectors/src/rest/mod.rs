//! Any system with a JSON API, as the configuration describes it.
//!
//! ```toml
//! url = "https://erp.example.com/api/"
//! auth = "bearer"
//! token_file = "erp-token"
//! rate = { requests = 30, per = "10s" }
//!
//! [stock]
//! path = "items/{{ sku }}/stock"
//! items = "data.warehouses"
//! columns = { warehouse = "code", warehouse_name = "name", on_hand = "quantity", reserved = "reserved" }
//! ```
//!
//! # What is asked
//!
//! Operations are `search`, `stock` and `prices` of an ERP, and in `contacts` and `leads` of a CRM `find_by_id`,
//! `find_by_email`, `find_by_phone`, `find_by_reference`, `create`, `update` and `changes`. Each is a request: `method`,
//! `path` below `url`, `query`, `headers`, and `body` (a tree that is sent as JSON) or `form`. The texts in them hold
//! `{{ expressions }}` of minijinja. What these yield is encoded for where it stands: it cannot become another segment of a
//! path, another parameter, another header or another part of a body, whatever it is. A text that is one expression and nothing
//! else keeps its type in a body, and is left out where it has no value.
//!
//! | variable | in | stands for |
//! |---|---|---|
//! | `vars`, `username`, `client_id` | everywhere | the keys of that name |
//! | `token` | everywhere | the token of `oauth2`, or what `session.value` found |
//! | `password`, `api_key`, `client_secret` | `session` | the secrets |
//! | `sku` | stock, prices | one SKU; there is a request for each |
//! | `skus` | stock, prices | at most `batch` SKUs, as a list |
//! | `quantity`, `price_list` | prices | how many are to be bought, the customer's price list; nothing if that is not said |
//! | `words`, `limit` | search | what was typed, how many items are wanted |
//! | `key` | `find_by_…` | the id, e-mail address, telephone number or reference |
//! | `fields` | create, update | the fields to set, by name; only those that change |
//! | `id` | update | the record |
//! | `since`, `since_seconds` | changes | from when on, in ISO 8601 or in seconds since 1970; nothing at first |
//! | `size`, `page`, `offset`, `cursor` | with `paging` | of the page |
//!
//! Stock and prices that use neither `sku` nor `skus` list everything. `quoted` is a filter for languages that quote texts as
//! OData does: `number eq {{ sku | quoted }}`.
//!
//! # What is read
//!
//! Answers are JSON, whatever type they say they have. `items` finds the list, `columns` the values in each item, by JMESPath.
//! Numbers come out as they were written, to the last digit, or not at all; `from_json(text)` reads JSON that is in a text.
//! What a column does not find is not known. Rows of one product are one product, those in one warehouse are added up; rows of
//! another SKU than was asked for are passed over. `reserved` is what of `on_hand` is not `available`.
//!
//! `errors` says what in an answer means that it is none, whatever its status.
//!
//! # Who asks
//!
//! `auth` is `none`, `basic`, `bearer`, `header`, `oauth2` (client credentials) or `session` (a request that answers with a
//! token or a cookie). Tokens and sessions are renewed shortly before their end, and once when they are refused.
//!
//! # Presets
//!
//! `preset = "nextup"` and `preset = "nexus"` are ready keys, which one's own override; see `presets/` for what is known of
//! these systems. **Neither has been verified against a live account.**

mod api;
mod auth;
mod call;
mod check;
mod config;
mod crm;
mod erp;
mod operation;
mod query;
mod records;
mod rows;
mod rules;
mod template;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use minijinja::Value;
use minijinja::value::Serde;
use url::Url;

pub use config::{
    AuthKind, EntityConfig, ErrorConfig, ErrorKind, FieldConfig, OauthConfig, OauthSend, OperationConfig, PagingConfig,
    PagingStyle, Preset, RateConfig, RestConfig, SessionConfig, Span, Takes,
};

use crate::error::Error;
use crate::http::{ApiClient, Rate};
use crate::records::{Capabilities, Check, Entity, Kind};
use crate::together::Together;
use crate::{Connector, Crm, Erp};
use api::Api;
use auth::Auth;
use operation::{Common, Operation};
use records::Records;
use rows::Rows;
use rules::Rules;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Rest.as_str();
const CONCURRENCY: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A value of the configuration, or what would be sent, that cannot be used.
fn refused(key: &str, message: impl Into<String>) -> Error {
    Error::Rejected {
        system: SYSTEM,
        field: Some(key.to_owned()),
        message: message.into(),
    }
}

fn unsupported(doing: &str) -> Error {
    Error::Unsupported {
        system: SYSTEM,
        doing: format!("{doing}: there is nothing for it in the configuration"),
    }
}

/// Lookups of SKUs that are asked for together.
type Lookups = Together<Vec<String>, Arc<Rows>>;

/// A system with a JSON API.
pub struct Rest {
    api: Api,
    concurrency: usize,
    search: Option<Operation>,
    stock: Option<Operation>,
    prices: Option<Operation>,
    contacts: Option<Records>,
    leads: Option<Records>,
    check_sku: Option<String>,
    stock_lookups: Lookups,
    price_lookups: Lookups,
    /// Held while a record is looked for and written: two callers that find none would both create one.
    writing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("api", &self.api).finish_non_exhaustive()
    }
}

/// What templates know as `vars`.
fn vars(config: &RestConfig) -> Value {
    Value::from(Serde(&config.vars))
}

/// What templates know of them by name.
fn var_names(config: &RestConfig) -> Vec<String> {
    config.vars.keys().map(|name| format!("vars.{name}")).collect()
}

impl Rest {
    /// A connector to what `config` describes. Sends nothing yet; every template and expression is read.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: RestConfig) -> Result<Self, Error> {
        let config = config.completed()?;
        let url = config
            .url
            .clone()
            .ok_or_else(|| refused("url", "it is missing: what all paths are below"))?;
        let timeout = config.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        if timeout.is_zero() {
            return Err(refused("timeout", "it is zero"));
        }
        let kind = config.auth.unwrap_or(AuthKind::None);
        let concurrency = config.concurrency.map_or(CONCURRENCY, std::num::NonZeroUsize::get);
        let built = |url: Url| {
            ApiClient::builder(SYSTEM, url)
                .remedy(auth::remedy(kind))
                .allow_http(config.allow_http.unwrap_or_default())
                .concurrency(concurrency)
                .timeout(timeout)
                .deadline(timeout * 3)
        };
        let client = match config.rate {
            Some(rate) if rate.per.0.is_zero() => return Err(refused("rate.per", "it is zero")),
            Some(RateConfig { requests, per }) => built(url).rate(Rate { requests, per: per.0 }),
            None => built(url),
        }
        .build()?;
        let content_type = config
            .content_type
            .as_ref()
            .map(|text| HeaderValue::try_from(text).map_err(|_| refused("content_type", "no header can hold it")))
            .transpose()?;
        let elsewhere = |url: &Url| {
            built(url.clone()).build().map_err(|error| match error {
                Error::Rejected { message, .. } => refused("oauth.url", message),
                error => error,
            })
        };
        let auth = Auth::compile(&config, &client, elsewhere, content_type.as_ref())?;

        let mut values = vec![("vars", vars(&config))];
        for (name, text) in [("username", &config.username), ("client_id", &config.client_id)] {
            values.extend(text.clone().map(|text| (name, Value::from(text))));
        }
        let own = var_names(&config);
        let mut known: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        known.extend(own.iter().map(String::as_str));
        let has_token = config.session.as_ref().is_some_and(|session| session.value.is_some());
        if kind == AuthKind::Oauth2 || kind == AuthKind::Session && has_token {
            known.push("token");
        }
        let common = Common {
            known: &known,
            content_type: content_type.as_ref(),
        };
        let operation = |key: &str, kind: operation::Kind, of: Option<&OperationConfig>| {
            of.map(|of| Operation::compile(key, kind, of, &common)).transpose()
        };
        let records = |key: &str, entity: Entity, of: Option<&EntityConfig>| {
            of.map(|of| Records::compile(key, entity, of, &common)).transpose()
        };
        let this = Self {
            search: operation("search", operation::Kind::Search, config.search.as_ref())?,
            stock: operation("stock", operation::Kind::Stock, config.stock.as_ref())?,
            prices: operation("prices", operation::Kind::Prices, config.prices.as_ref())?,
            contacts: records("contacts", Entity::Contact, config.contacts.as_ref())?,
            leads: records("leads", Entity::Lead, config.leads.as_ref())?,
            api: Api {
                headers: call::headers("headers", &config.headers, &known)?,
                rules: Rules::compile(config.errors.as_deref().unwrap_or_default(), auth::remedy(kind))?,
                client,
                auth,
                values,
            },
            concurrency,
            check_sku: config.check_sku,
            stock_lookups: Together::default(),
            price_lookups: Together::default(),
            writing: tokio::sync::Mutex::default(),
        };
        this.validate()?;
        Ok(this)
    }

    /// Whether the operations fit together.
    fn validate(&self) -> Result<(), Error> {
        if self.erp().is_none() && self.crm().is_none() {
            return Err(refused(
                "stock",
                "there is no operation: describe stock, search, prices, contacts or leads",
            ));
        }
        for operation in [&self.stock, &self.prices].into_iter().flatten() {
            if !operation.call.uses("sku") && !operation.has("sku") {
                let message = "there is no sku, by which the items of a request for many are told apart";
                return Err(refused(&format!("{}.columns", operation.key), message));
            }
        }
        if self.search.as_ref().is_some_and(|search| search.codes) && self.stock.is_none() {
            return Err(refused(
                "search.codes",
                "there is no stock operation that could be asked",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Connector for Rest {
    fn kind(&self) -> Kind {
        Kind::Rest
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: self.search.is_some(),
            stock: self.stock.is_some(),
            warehouses: self.stock.as_ref().is_some_and(|stock| stock.has("warehouse")),
            prices: self.prices.is_some(),
            catalogue: self.catalogue().is_some(),
            contacts: self.contacts.is_some(),
            leads: self.leads.is_some(),
            changes: [&self.contacts, &self.leads]
                .into_iter()
                .flatten()
                .any(Records::tells_changes),
        }
    }

    async fn check(&self) -> Vec<Check> {
        self.checks().await
    }

    fn erp(&self) -> Option<&dyn Erp> {
        let is_one = self.search.is_some() || self.stock.is_some() || self.prices.is_some();
        is_one.then_some(self as &dyn Erp)
    }

    fn crm(&self) -> Option<&dyn Crm> {
        let is_one = self.contacts.is_some() || self.leads.is_some();
        is_one.then_some(self as &dyn Crm)
    }
}
