//! `[contact_sync.NAME]`: contacts that are kept the same in a CRM.

use std::collections::BTreeMap;

use allai_connectors::Entity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::{Config, KeyPath, Schedule, Timezone, words};
use crate::contacts::{KeyKind, Mapping, Winner, entity_name};

/// Contacts of an account that are kept the same in a CRM.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContactSync {
    /// The connector's name.
    pub connector: String,
    /// The account's name; with one account it need not be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What they are in the CRM: `contact`, or `lead`.
    #[serde(deserialize_with = "words::name")]
    #[schemars(with = "String")]
    pub entity: Entity,
    /// What they are known by there, the surest first: `email`, `phone`, or `reference`, which is their id.
    pub key: Vec<KeyKind>,
    /// The country of telephone numbers that do not say it.
    pub default_region: String,
    /// An expression that says which contacts, such as `"lead" in contact.tags`; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Who is right where both sides have changed a field: `allai` or `crm`.
    #[serde(deserialize_with = "words::name")]
    pub winner: Winner,
    /// When the daemon runs it: cron with seconds; absent: only `allai-sync contacts sync` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The IANA time zone that the schedule is in.
    pub timezone: Timezone,
    /// What the CRM's fields are made of: templates that read `contact`.
    pub fields: BTreeMap<String, String>,
    /// What members of the contact are made of: templates that read `record`.
    pub back: BTreeMap<String, String>,
}

impl Default for ContactSync {
    fn default() -> Self {
        Self {
            connector: String::new(),
            account: None,
            entity: Entity::Contact,
            key: vec![KeyKind::Email, KeyKind::Phone],
            default_region: "RO".to_owned(),
            filter: None,
            winner: Winner::default(),
            schedule: None,
            timezone: Timezone::default(),
            fields: BTreeMap::new(),
            back: BTreeMap::new(),
        }
    }
}

impl ContactSync {
    /// The account that it is about; `None` if it names none, and there is not one alone.
    pub fn account_in<'a>(&'a self, config: &'a Config) -> Option<&'a str> {
        let alone = || {
            let mut names = config.accounts.keys();
            names.next().filter(|_| names.next().is_none())
        };
        self.account.as_ref().or_else(alone).map(String::as_str)
    }
}

/// What must be read of a contact before it can be written: the API may take what it is not told for nothing.
const WRITTEN: [&str; 5] = ["name", "email", "phone", "tags", "custom_fields"];

pub(super) fn validate(config: &Config, at: &KeyPath, report: &mut Report) {
    let mut seen: Vec<(&str, &str, Entity)> = Vec::new();
    for (name, section) in &config.contact_sync {
        let at = at.join(name);
        if section.connector.is_empty() {
            report.missing(
                &at.join("connector"),
                "missing",
                "add `connector = \"NAME\"`, one of [connectors.NAME]",
            );
        } else if !config.connectors.contains_key(&section.connector) {
            let known: Vec<&str> = config.connectors.keys().map(String::as_str).collect();
            let remedy = format!("there are: {}", known.join(", "));
            report.wrong(&at.join("connector"), "there is no connector of this name", remedy);
        }
        match section.account_in(config) {
            None => report.missing(
                &at.join("account"),
                "missing",
                "there are several accounts: add `account = \"NAME\"`",
            ),
            Some(account) => match config.accounts.get(account) {
                None => report.wrong(&at.join("account"), "there is no account of this name", ""),
                Some(options) => {
                    let fields = &options.contacts.fields;
                    let unread = WRITTEN.iter().find(|name| !fields.iter().any(|field| field == *name));
                    if let (false, false, Some(unread)) = (section.back.is_empty(), fields.is_empty(), unread) {
                        let problem =
                            format!("needs all of a contact, and accounts.{account}.contacts.fields has no {unread}");
                        report.wrong(&at.join("back"), problem, "add it there, or remove that list");
                    }
                    let this = (account, section.connector.as_str(), section.entity);
                    if seen.contains(&this) {
                        let entity = entity_name(section.entity);
                        let problem = format!(
                            "another section syncs this account's contacts with the same connector's {entity}s"
                        );
                        report.wrong(&at, problem, "make one of both");
                    }
                    seen.push(this);
                }
            },
        }
        if let Err(misfits) = Mapping::new(section) {
            for misfit in misfits {
                let key = misfit.key.iter().fold(at.clone(), |key, part| key.join(part));
                report.wrong(&key, misfit.problem, misfit.remedy);
            }
        }
    }
}
