//! SmartBill, invoicing and stock (Romania), over its REST API.
//!
//! **Not yet verified against a live account.** SmartBill publishes which requests there are, not what its answers look like.
//! What is known, and from where:
//!
//! - `GET /stocks?cif&date&warehouseName&productName&productCode`, HTTP basic authentication with the e-mail address and the
//!   token of *Contul meu > Integrari*: SmartBill's own PHP client (`SmartBillCloudRestClient`) and its documentation at
//!   `api.smartbill.ro`. Without filters it answers all products in all warehouses; the warehouse's name is compared exactly.
//! - The answer, `{"list": [{"warehouse": {"warehouseName", "warehouseType"}, "products": [{"productName", "productCode",
//!   "measuringUnit", "quantity"}]}], "errorText": ""}`: several programs in public repositories that read it so. Others expect
//!   a list without `list`, or products without warehouses. All of these are read; quantities as numbers and as texts.
//! - Failures come with 400 or 401, or with 200 and an `errorText`. Sources do not say what is answered about a code that
//!   nothing has: if it is an error, the list of everything is asked for, which tells the two apart.
//! - Stock is part of SmartBill Gestiune; the API, of its larger subscriptions (`ajutorgestiune.smartbill.ro`, article 473).
//!
//! Neither do sources say whether `productCode` must be the whole code, or whether products that ran out are listed. So codes
//! are compared here, and what is not listed is not known. There are no prices in it.
//!
//! # The limit
//!
//! 30 requests in 10 s; who exceeds it is blocked for about 10 minutes (programs in public repositories; most also keep to 3
//! requests a second). 3 a second is both, and is never exceeded. Lookups that come while one is on its way wait for it and are
//! then asked together: up to [`FEW`] codes one by one, more by the list of everything.

mod answer;
mod check;
mod config;
mod erp;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

pub use config::SmartbillConfig;

use crate::error::Error;
use crate::http::{ApiClient, Block, Rate, authorization};
use crate::records::{Capabilities, Check, Kind};
use crate::together::Together;
use crate::{Connector, Erp};
use erp::{Found, Wanted};

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Smartbill.as_str();
/// How many codes are asked for one by one.
pub const FEW: usize = 3;
/// The vendor's limit.
pub const RATE: Rate = Rate {
    requests: NonZeroU32::new(3).expect("not zero"),
    per: Duration::from_secs(1),
};
/// How being blocked is told is not documented: 429, or a refusal with such words.
const BLOCK: Block = Block {
    statuses: &[401, 403],
    words: &[
        "blocat",
        "blocked",
        "prea multe",
        "too many",
        "rate limit",
        "numarul de apeluri",
    ],
    lasts: Duration::from_mins(10),
};
/// The list of everything is about 150 bytes a product and warehouse.
const LARGEST: usize = 64 << 20;

/// A SmartBill account's company.
#[derive(Debug)]
pub struct Smartbill {
    config: SmartbillConfig,
    client: ApiClient,
    authorization: (HeaderName, HeaderValue),
    lookups: Together<Wanted, Arc<Found>>,
}

impl Smartbill {
    /// A connector to what `config` names. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: SmartbillConfig) -> Result<Self, Error> {
        Self::with_rate(config, RATE)
    }

    /// The same with another limit than the vendor's, for tests whose server counts in shorter periods.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn with_rate(config: SmartbillConfig, rate: Rate) -> Result<Self, Error> {
        config.validate()?;
        let client = ApiClient::builder(SYSTEM, config.url.clone())
            .remedy("username and token")
            .rate(rate)
            .block(BLOCK)
            .timeout(config.timeout)
            .deadline(config.timeout * 3)
            .max_body(LARGEST)
            .build()?;
        let credentials = format!("{}:{}", config.username, config.token.expose_secret());
        Ok(Self {
            client,
            authorization: authorization("Basic", &credentials),
            lookups: Together::default(),
            config,
        })
    }
}

#[async_trait]
impl Connector for Smartbill {
    fn kind(&self) -> Kind {
        Kind::Smartbill
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: true,
            stock: true,
            catalogue: true,
            warehouses: true,
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
