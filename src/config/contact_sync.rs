//! `[contact_sync.NAME]`: contacts that are kept the same in a CRM.

use std::collections::BTreeMap;

use allai_connectors::Entity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::accounts::UNREAD_REMEDY;
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
        if let Some((account, options)) = config.account_of(section.account.as_deref(), &at, report) {
            let unread = options.unread_of_contacts(account).filter(|_| !section.back.is_empty());
            if let Some(problem) = unread {
                report.wrong(&at.join("back"), problem, UNREAD_REMEDY);
            }
            let this = (account, section.connector.as_str(), section.entity);
            if seen.contains(&this) {
                let entity = entity_name(section.entity);
                let problem =
                    format!("another section syncs this account's contacts with the same connector's {entity}s");
                report.wrong(&at, problem, "make one of both");
            }
            seen.push(this);
        }
        if let Err(misfits) = Mapping::new(section) {
            report.misfits(&at, misfits);
        }
    }
}
