//! Oblio, invoicing and stock (Romania), over its REST API.
//!
//! **Not yet verified against a live account.** Sources: Oblio's documentation at `https://www.oblio.eu/api`, and its own
//! programs at `https://github.com/OblioSoftware` (`OblioApi`, `oblio-woocommerce`). What they say, and how it is read:
//!
//! - `POST /authorize/token` with `client_id` (the account's e-mail address) and `client_secret` (*Setari > Date Cont*) as a
//!   form gives `{"access_token", "expires_in": "3600", "token_type": "Bearer", …}`. The token is renewed before it expires,
//!   and once when it is refused.
//! - Answers are `{"status": 200, "statusMessage": "Success", "data": […]}`; failures have status 400 or 401 and a message.
//! - `GET /nomenclature/products?cif&name&code&offset` gives at most 250 products a page: `name`, `code`, `measuringUnit`,
//!   `productType`, and for goods `stock`: a row for each `workStation` and `management` (warehouse) with `quantity`, `price`,
//!   `currency`, `vatPercentage`, `vatIncluded`. Services have the price itself, and no stock: how many there are is not known.
//! - With `management`, products are listed without `stock`, "as services are": so it is not sent, and the rows that count are
//!   picked here. `quantity` is read from either place. `limitPerPage` is in the README of `OblioApi` only; 250 is the default.
//! - Sources do not say whether `code` and `name` are compared as a whole or in part: what comes back is compared again, here.
//! - A price of 0 is taken for none. Prices are list prices: there are no quantity breaks and no price lists.
//!
//! # The limit
//!
//! Over 3 requests in a second, the token is blocked for 10 minutes; newer copies of the documentation say 30 requests in 10 s.
//! 3 a second is both, and is never exceeded. Lookups that come while one is on its way, of stock or of prices, wait for it and
//! are then one: up to [`FEW`] codes, or fewer than there are pages, are asked for one by one, more by the pages of everything.

mod answer;
mod check;
mod config;
mod erp;
mod session;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;

pub use config::OblioConfig;

use crate::error::Error;
use crate::http::{ApiClient, Block, Rate};
use crate::records::{Capabilities, Check, Kind};
use crate::together::Together;
use crate::{Connector, Erp};
use erp::Found;
use session::Session;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Oblio.as_str();
/// How many codes are asked for one by one, however few pages there are.
pub const FEW: usize = 3;
/// The vendor's limit.
pub const RATE: Rate = Rate {
    requests: NonZeroU32::new(3).expect("not zero"),
    per: Duration::from_secs(1),
};
/// How being blocked is told is not documented: 429, or a refusal with such words.
const BLOCK: Block = Block {
    statuses: &[400, 401, 403],
    words: &["blocat", "blocked", "prea multe", "too many", "rate limit"],
    lasts: Duration::from_mins(10),
};

/// An Oblio account's company.
pub struct Oblio {
    config: OblioConfig,
    session: Session,
    lookups: Together<Vec<String>, Arc<Found>>,
    /// How many pages everything was the last time; 0 before.
    pages: AtomicUsize,
}

impl fmt::Debug for Oblio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oblio")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Oblio {
    /// A connector to what `config` names. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: OblioConfig) -> Result<Self, Error> {
        Self::with_rate(config, RATE)
    }

    /// The same with another limit than the vendor's, for tests whose server counts in shorter periods.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn with_rate(config: OblioConfig, rate: Rate) -> Result<Self, Error> {
        config.validate()?;
        let client = ApiClient::builder(SYSTEM, config.url.clone())
            .remedy("client_id and client_secret")
            .rate(rate)
            .block(BLOCK)
            .timeout(config.timeout)
            .deadline(config.timeout * 3)
            .build()?;
        Ok(Self {
            session: Session::new(client, &config),
            lookups: Together::default(),
            pages: AtomicUsize::new(0),
            config,
        })
    }
}

#[async_trait]
impl Connector for Oblio {
    fn kind(&self) -> Kind {
        Kind::Oblio
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: true,
            stock: true,
            catalogue: true,
            warehouses: true,
            prices: true,
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
