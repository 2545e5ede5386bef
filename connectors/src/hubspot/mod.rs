//! HubSpot, over its CRM API, with the token of a private app or a service key.
//!
//! **Not yet verified against a live account.** Sources: HubSpot's documentation at `https://developers.hubspot.com/docs`
//! (objects, properties, associations, search, usage guidelines), and error bodies as public programs and HubSpot's community
//! quote them. What they say, and how it is read:
//!
//! - Contacts are contacts, leads are deals. A lead's e-mail address or telephone number is that of a contact it is associated
//!   with. The fields are the properties that are not hidden, by their internal names; all values travel as texts.
//! - `POST /crm/v3/objects/{contacts|deals}/batch/read` reads by id, or by `idProperty`: `email`, or a property that was created
//!   with `hasUniqueValue`. It answers 200, or 207 with those that are missing among `errors`. At most 100 at a time.
//! - `POST …/batch/upsert` with `idProperty` creates or changes; repeated, it changes nothing more. So what has an e-mail address
//!   or a reference is created by it: a lost answer cannot duplicate. A reference therefore needs a property with unique values.
//! - `POST …/search` finds the rest: telephone numbers, and what changed. It lags behind ("a few moments"), so that what it finds
//!   is read again, and what it does not find may be there all the same: see `keys::Lately`. A body over 3,000 characters is
//!   refused: it is asked for ids and times only. At most 10,000 results can be paged through: see `changes`.
//! - `GET /crm/v4/objects/contacts/{id}/associations/deals` lists a contact's deals; 3 is the type of a deal's contact.
//! - Errors are `{"status": "error", "category", "message", "errors": [{"code", "context": {"propertyName"}}]}`. The messages
//!   quote values, and are not passed on; in one of them the properties are JSON: see `refusal`.
//!
//! # The limits
//!
//! 100 requests in 10 s for each app, 190 on the plans Professional and Enterprise; searches 4 a second ("five" in newer copies
//! of the documentation), which count to both. Neither is exceeded. The daily limit (250,000 and more) is the account's, for all
//! of its apps: who meets it is told so (429, `policyName` `DAILY`) and asks again after a quarter of an hour.

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

pub use config::HubspotConfig;

use crate::error::Error;
use crate::http::Rate;
use crate::keys::Lately;
use crate::records::{Capabilities, Check, Entity, Kind};
use crate::{Connector, Crm};
use api::Api;
use model::Models;

/// The kind, as errors name it.
const SYSTEM: &str = Kind::Hubspot.as_str();
/// The vendor's limit for searches.
pub const SEARCH_RATE: Rate = Rate {
    requests: NonZeroU32::new(4).expect("not zero"),
    per: Duration::from_secs(1),
};
/// How far search is thought to lag behind at most.
const SEARCH_LAG: Duration = Duration::from_secs(30);

/// The vendor's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all requests.
    pub all: Rate,
    /// Of searches.
    pub search: Rate,
    /// How far search lags behind at most.
    pub search_lag: Duration,
}

/// A HubSpot account.
#[derive(Debug)]
pub struct Hubspot {
    config: HubspotConfig,
    api: Api,
    models: Models,
    lately: Lately,
    search_lag: Duration,
    /// One upsert at a time: two at once would both find nothing and both create.
    writing: Mutex<()>,
}

impl Hubspot {
    /// A connector to what `config` names. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn new(config: HubspotConfig) -> Result<Self, Error> {
        let limits = Limits {
            all: Rate {
                requests: config.requests_per_10s,
                per: Duration::from_secs(10),
            },
            search: SEARCH_RATE,
            search_lag: SEARCH_LAG,
        };
        Self::with_limits(config, limits)
    }

    /// The same with other limits than the vendor's, for tests whose server counts in shorter periods.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key that cannot be used.
    pub fn with_limits(config: HubspotConfig, limits: Limits) -> Result<Self, Error> {
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

/// The type of object an entity is.
const fn object_of(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "contacts",
        Entity::Lead => "deals",
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
impl Connector for Hubspot {
    fn kind(&self) -> Kind {
        Kind::Hubspot
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
