//! Pipedrive, over its REST API, with a user's API token.
//!
//! **Not yet verified against a live account.** Sources: Pipedrive's documentation at `https://developers.pipedrive.com` and
//! `https://pipedrive.readme.io` (persons, deals, leads, fields, search, rate limiting, the guide to API v2), its own client
//! `https://github.com/pipedrive/client-nodejs`, and what public programs say of headers and errors. How it is read:
//!
//! - Contacts are persons (API v2). Leads are leads (API v1) or deals (API v2), as configured; leads have the custom fields of
//!   deals. A lead's e-mail address or telephone number is that of its person.
//! - Custom fields have keys of 40 characters, other ones in each account. Here they go by the names that people see; by their
//!   key where two have one name. In v2 they are in `custom_fields`, in v1 beside the others.
//! - `GET /api/v2/{persons|deals|leads}/search?term&fields&exact_match=true` ignores case. What it finds is read again and
//!   compared, since it lags behind; what it does not find may be there all the same: see `keys::Lately`. There is no key that makes
//!   creating safe to repeat, so nothing is created before that is sure.
//! - `GET /api/v2/{persons|deals}?updated_since&sort_by=update_time` tells what changed, in whole seconds. Leads have no such
//!   filter: they are read by `sort=update_time DESC` until they are old; the first time that is all of them at once.
//! - Errors are `{"success": false, "error", "error_info", "code"}`. They may quote values: only the name of a field is told.
//!
//! # The limits
//!
//! 20 requests in 2 s on the plan Lite (Growth 40, Premium 80, Ultimate 120), searches 10 in 2 s, which are taken to count to
//! both. A day's budget of tokens is the company's: 30,000 times the plan's factor and the seats; a search costs 20, a list 10
//! (v1: 20), a record 1 (v1: 2), a change 5 (v1: 10). All three are kept from here, the tokens in any 24 hours since the start;
//! how much others have spent, or a process before, is read from `x-daily-ratelimit-token-remaining`, where it is told. Who goes
//! on after 429 is blocked: nobody does.

mod api;
mod changes;
mod check;
mod config;
mod crm;
mod model;
mod refusal;

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use config::{LeadsAre, PipedriveConfig};

use crate::error::Error;
use crate::http::{Allowance, Rate};
use crate::keys::Lately;
use crate::records::{Capabilities, Check, Kind};
use crate::{Connector, Crm};
use api::Api;
use model::Models;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Pipedrive.as_str();
/// The vendor's limit for searches.
pub const SEARCH_RATE: Rate = Rate {
    requests: NonZeroU32::new(10).expect("not zero"),
    per: Duration::from_secs(2),
};
/// How far search is thought to lag behind at most.
const SEARCH_LAG: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_hours(24);

/// The vendor's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all requests.
    pub all: Rate,
    /// Of searches.
    pub search: Rate,
    /// How many tokens may be spent.
    pub tokens: Allowance,
    /// How far search lags behind at most.
    pub search_lag: Duration,
}

/// A Pipedrive account.
#[derive(Debug)]
pub struct Pipedrive {
    config: PipedriveConfig,
    api: Api,
    models: Models,
    lately: Lately,
    search_lag: Duration,
    /// One upsert at a time: two at once would both find nothing and both create.
    writing: Mutex<()>,
}

impl Pipedrive {
    /// A connector to what `config` names. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: PipedriveConfig) -> Result<Self, Error> {
        let limits = Limits {
            all: Rate {
                requests: config.requests_per_2s,
                per: Duration::from_secs(2),
            },
            search: SEARCH_RATE,
            tokens: Allowance {
                units: config.daily_tokens.get(),
                per: DAY,
            },
            search_lag: SEARCH_LAG,
        };
        Self::with_limits(config, limits)
    }

    /// The same with other limits than the vendor's, for tests whose server counts in shorter periods.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn with_limits(config: PipedriveConfig, limits: Limits) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            api: Api::new(&config, limits)?,
            models: Models::default(),
            lately: Lately::new(limits.search_lag),
            search_lag: limits.search_lag,
            writing: Mutex::new(()),
            config,
        })
    }
}

fn rejected(field: impl Into<String>, message: impl Into<String>) -> Error {
    Error::Rejected {
        system: SYSTEM,
        field: Some(field.into()),
        message: message.into(),
    }
}

#[async_trait]
impl Connector for Pipedrive {
    fn kind(&self) -> Kind {
        Kind::Pipedrive
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            contacts: true,
            leads: true,
            changes: true,
            ..Capabilities::default()
        }
    }

    async fn check(&self) -> Vec<Check> {
        self.checks().await
    }

    fn crm(&self) -> Option<&dyn Crm> {
        Some(self)
    }
}
