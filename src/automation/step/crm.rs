//! `do = "crm"`: keeps a contact or a lead in a CRM. Known by its key, it is created once and changed after. Gives its `id` and whether it
//! was `created`.

use std::collections::BTreeMap;

use allai_connectors::{Entity, Fields, Key};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Failure, Reading};
use crate::automation::template::Template;
use crate::automation::tools::Tools;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Crm {
    pub(super) record: Template,
    connector: String,
    entity: Entity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    connector: String,
    /// `contact` or `lead`.
    entity: Entity,
    /// What it is known by: `{ email = "…" }`, `{ phone = "…" }` or `{ reference = "…" }`.
    key: Map<String, Value>,
    /// Its fields, in the CRM's words.
    fields: Map<String, Value>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Crm> {
    let keys: Keys = reading.keys(own)?;
    let entity = keys.entity;
    reading.connector("connector", &keys.connector, "does not keep this", |connector| {
        let can = connector.capabilities();
        let keeps = match entity {
            Entity::Contact => can.contacts,
            Entity::Lead => can.leads,
        };
        keeps && connector.crm().is_some()
    });
    let kinds = ["email", "phone", "reference"];
    if keys.key.len() != 1 || !keys.key.keys().all(|kind| kinds.contains(&kind.as_str())) {
        reading.wrong(
            &["key"],
            "not something that it is known by",
            "write e.g. key = { email = \"{{ contact.email }}\" }; or phone, or reference",
        );
    }
    if keys.fields.is_empty() {
        reading.wrong(
            &["fields"],
            "sets no field",
            "write e.g. fields = { name = \"{{ contact.name }}\" }",
        );
    }
    let record = json!({"key": keys.key, "fields": keys.fields});
    Some(Crm {
        record: reading.template(&[], &record),
        connector: keys.connector,
        entity,
    })
}

impl Crm {
    pub(super) async fn perform(&self, input: &Value, tools: &Tools) -> Result<Value, Failure> {
        let connector = tools.connector(&self.connector)?;
        let crm = connector
            .crm()
            .ok_or_else(|| Failure::lasting(format!("{} is no CRM", self.connector)))?;
        let key = key(&input["key"]).ok_or_else(|| Failure::lasting("what it is to be known by came out empty"))?;
        let fields: Fields = input["fields"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let kept = crm.upsert(self.entity, &key, &fields).await?;
        Ok(json!({"id": kept.id, "created": kept.created}))
    }
}

fn key(value: &Value) -> Option<Key> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let value = value.as_str()?.trim();
    if value.is_empty() {
        return None;
    }
    let value = value.to_owned();
    Some(match kind.as_str() {
        "email" => Key::Email(value),
        "phone" => Key::Phone(value),
        _ => Key::Reference(value),
    })
}
