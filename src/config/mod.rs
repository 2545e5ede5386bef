//! The configuration: what one file, the environment and the defaults add up to.
//!
//! [`Config::load`] merges defaults < file < environment with figment, reads the secrets that are given as files, checks
//! everything, and reports *all* that is wrong at once, each with its place, its key and a remedy. What it returns is
//! valid: nobody downstream checks a setting again.
//!
//! Invariants:
//! - The types here are the only description of the keys: unknown keys, the JSON Schema and `config show` derive from them.
//! - A secret lives in a [`Secret`] and leaves it through `expose` alone. No error repeats a value from the
//!   configuration, because any value may turn out to be a secret in the wrong place.
//!
//! To add a key: add the field with its doc comment and default to its section, check it in the section's `validate`, and
//! describe it in `config.example.toml`; a test fails until it is there. To add a section: one file here, one field in
//! [`Config`].

mod accounts;
mod admin;
mod alerts;
mod automations;
mod connectors;
mod contact_sync;
mod daemon;
pub mod duration;
mod example;
mod issue;
mod jobs;
mod key_path;
mod layers;
mod load;
mod mail;
mod nats;
mod open_table;
mod schedule;
mod secret;
mod shape;
mod show;
mod sources;
mod stock_snapshots;
mod syntax;
mod warehouse;
mod webhooks;
mod words;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use accounts::UNREAD_REMEDY;
pub use accounts::{
    Account, AccountWebhook, AnalyticsOptions, BaseUrl, Environment, Plan, ResourceOptions, SignedBody,
};
pub use admin::Admin;
pub use alerts::{AlertMail, AlertWebhook, Alerts, WebhookFormat};
pub use automations::{Automation, Hours};
pub use connectors::{Connector, ConnectorKind};
pub use contact_sync::ContactSync;
pub use daemon::Daemon;
pub use example::{EXAMPLE, schema};
pub use issue::{Errors, Issue, Misfit};
pub use jobs::{Job, Jobs};
pub use key_path::KeyPath;
#[doc(hidden)]
pub use load::check_text;
pub use load::{LoadOptions, Loaded};
pub use mail::Mail;
pub use nats::Nats;
pub use open_table::OpenTable;
pub use schedule::{Schedule, Timezone};
pub use secret::Secret;
pub use show::show;
pub use sources::{Place, Sources};
pub use stock_snapshots::StockSnapshots;
pub use warehouse::{DatabaseUrl, Warehouse};
pub use webhooks::Webhooks;

use issue::Report;

/// The whole configuration of allai-sync.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "allai-sync configuration")]
pub struct Config {
    /// The database that mirrors the accounts.
    pub warehouse: Warehouse,
    /// The AllAI accounts to mirror, by the name that becomes the `account` column.
    pub accounts: BTreeMap<String, Account>,
    /// When each resource is synced.
    pub jobs: Jobs,
    /// How the daemon behaves.
    pub daemon: Daemon,
    /// The public listener that receives AllAI's webhooks; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Webhooks>,
    /// The private listener: health, metrics, status page, API.
    pub admin: Admin,
    /// The mail server that alerts and automations send by; absent: none, but what `[alerts.mail]` says for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<Mail>,
    /// Who is told when something needs a person.
    pub alerts: Alerts,
    /// CRM and ERP systems, by a name of your choice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub connectors: BTreeMap<String, Connector>,
    /// Contacts that are kept the same in a CRM, by a name of your choice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contact_sync: BTreeMap<String, ContactSync>,
    /// What connectors have on stock, written down now and then, by the connector's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stock_snapshots: BTreeMap<String, StockSnapshots>,
    /// Rules that act on what happens in an account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub automations: Vec<Automation>,
}

impl Config {
    /// Loads the configuration that `options` describe.
    ///
    /// Fails with everything that is wrong with it, never with the first problem alone (a TOML syntax error excepted,
    /// behind which nothing can be read).
    pub fn load(options: &LoadOptions) -> Result<Loaded, Errors> {
        load::load(options)
    }

    /// The account of this name; without one, the only account there is.
    pub fn account(&self, name: Option<&str>) -> Option<(&str, &Account)> {
        match name {
            Some(name) => self.accounts.get_key_value(name),
            None => self.accounts.first_key_value().filter(|_| self.accounts.len() == 1),
        }
        .map(|(name, account)| (name.as_str(), account))
    }

    /// The same, for the section at `at`; notes if there is none.
    fn account_of(&self, name: Option<&str>, at: &KeyPath, report: &mut Report) -> Option<(&str, &Account)> {
        let found = self.account(name);
        let at = at.join("account");
        match (found, name) {
            (Some(_), _) => {}
            (None, Some(_)) => report.wrong(&at, "there is no account of this name", ""),
            (None, None) => {
                let remedy = "there are several accounts: add `account = \"NAME\"`";
                report.missing(&at, "missing", remedy);
            }
        }
        found
    }

    /// What mail is sent by, and from whom: as `[mail]` says, or else `[alerts.mail]`.
    pub(crate) fn sender(&self) -> Option<(&str, &str)> {
        let own = self.mail.as_ref().map(|mail| (&mail.server, &mail.from));
        let of_alerts = || self.alerts.mail.as_ref().map(|mail| (&mail.server, &mail.from));
        let (server, from) = own.or_else(of_alerts)?;
        Some((server.as_ref()?.expose(), from))
    }

    /// What some sections take over from others.
    fn inherit(&mut self) {
        if let (Some(own), Some(mail)) = (&mut self.alerts.mail, &self.mail) {
            own.inherit(mail);
        }
    }

    fn validate(&self, report: &mut Report) {
        let root = KeyPath::root();
        self.warehouse.validate(&root.join("warehouse"), report);
        accounts::validate(&self.accounts, &root.join("accounts"), report);
        self.daemon.validate(&root.join("daemon"), report);
        self.admin.validate(&root.join("admin"), report);
        if let Some(mail) = &self.mail {
            mail.validate(&root.join("mail"), report);
        }
        self.alerts.validate(&root.join("alerts"), report);
        if let Some(webhooks) = &self.webhooks {
            webhooks.validate(&root.join("webhooks"), self, report);
        }
        connectors::validate(&self.connectors, &root.join("connectors"), report);
        contact_sync::validate(self, &root.join("contact_sync"), report);
        stock_snapshots::validate(self, &root.join("stock_snapshots"), report);
        automations::validate(self, &root.join("automations"), report);
    }
}
