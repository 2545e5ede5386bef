//! Contacts are parties, leads are opportunities.
//!
//! A party is found by its contact mechanisms: an e-mail address whatever its case, a telephone number whatever stands between
//! its digits. A lead's e-mail address is its party's. Deactivated parties and mechanisms are not found, as nowhere in Tryton.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::model::{MECHANISM, Metas, REACHED_BY, model_of};
use super::rpc::Effect;
use super::setup::Setup;
use super::values::{escaped, is_storable, record_id, stripped, time};
use super::{SYSTEM, Tryton};
use crate::Crm;
use crate::error::Error;
use crate::keys::{self, international};
use crate::records::{Changes, Entity, Field, Fields, Key, Record, Upserted};

/// At most so many records are taken for the ones that share a key; more are no key.
const SHARED: usize = 100;
/// The longest text that is looked for.
const LONGEST: usize = 1_000;

/// Ways to reach a party: the type of a mechanism, and its value.
type ReachedBy = Vec<(&'static str, String)>;

const MECHANISMS: [&str; 5] = [
    "contact_mechanisms.type",
    "contact_mechanisms.value",
    "contact_mechanisms.write_date",
    "contact_mechanisms.create_date",
    "contact_mechanisms.sequence",
];

/// What a mechanism's search tells.
#[derive(Debug, Deserialize)]
struct MechanismRow {
    party: i64,
    value: Option<String>,
}

/// A party's mechanism.
#[derive(Debug, Deserialize)]
struct OwnMechanism {
    id: i64,
    #[serde(rename = "type")]
    kind: String,
    value: Option<String>,
}

fn rejected(field: &str, message: &str) -> Error {
    Error::Rejected {
        system: SYSTEM,
        field: Some(field.to_owned()),
        message: message.to_owned(),
    }
}

impl Tryton {
    /// The ids of what has this key, the oldest first.
    async fn ids(&self, entity: Entity, key: &Key, setup: &Setup) -> Result<Vec<i64>, Error> {
        let domain = match key {
            Key::Id(id) => match record_id(id) {
                Some(id) => json!([["id", "=", id]]),
                None => return Ok(Vec::new()),
            },
            Key::Reference(reference) => {
                let field = self.checked_reference_field(entity).await?;
                if !is_storable(reference) || stripped(reference).is_empty() || reference.len() > LONGEST {
                    return Ok(Vec::new());
                }
                json!([[field, "=", reference]])
            }
            Key::Email(_) | Key::Phone(_) => {
                let parties = self.parties(key, setup).await?;
                if parties.is_empty() || entity == Entity::Contact {
                    return Ok(parties);
                }
                json!([["party", "in", parties]])
            }
        };
        let params = json!([domain, 0, SHARED, [["id", "ASC"]], setup.context()]);
        self.rpc.call(model_of(entity), "search", params, Effect::Reads).await
    }

    /// The ids of the parties that are reached by an e-mail address or a telephone number, the oldest first.
    async fn parties(&self, key: &Key, setup: &Setup) -> Result<Vec<i64>, Error> {
        let (types, pattern) = match key {
            Key::Email(email) => (json!(["email"]), escaped(stripped(email))),
            Key::Phone(phone) => {
                // Digits only, so nothing to be escaped; what may stand between them is a matter of taste.
                let Some(digits) = international(phone).filter(|digits| digits.len() >= 7) else {
                    return Ok(Vec::new());
                };
                let spread: Vec<String> = digits.chars().map(String::from).collect();
                (json!(["phone", "mobile"]), format!("%{}", spread.join("%")))
            }
            Key::Id(_) | Key::Reference(_) => return Ok(Vec::new()),
        };
        if pattern.is_empty() || !is_storable(&pattern) || pattern.len() > LONGEST {
            return Ok(Vec::new());
        }
        let domain = json!([
            ["type", "in", types],
            ["value", "ilike", pattern],
            ["party.active", "=", true]
        ]);
        let params = json!([domain, 0, null, [["id", "ASC"]], ["party", "value"], setup.context()]);
        let rows: Vec<MechanismRow> = self.rpc.call(MECHANISM, "search_read", params, Effect::Reads).await?;
        let is_meant = |row: &MechanismRow| match key {
            Key::Phone(phone) => row.value.as_deref().and_then(international) == international(phone),
            _ => true,
        };
        let parties: BTreeSet<i64> = rows.iter().filter(|row| is_meant(row)).map(|row| row.party).collect();
        Ok(parties.into_iter().take(SHARED).collect())
    }

    /// The field that holds our reference, if the model has it.
    pub(super) async fn checked_reference_field(&self, entity: Entity) -> Result<&str, Error> {
        let field = self.reference_field(entity)?;
        let key = match entity {
            Entity::Contact => "contact_reference",
            Entity::Lead => "lead_reference",
        };
        match self.metas(entity).await?.get(field) {
            Some(meta) if meta.is_text() => Ok(field),
            _ => Err(rejected(key, &format!("{} has no such text field", model_of(entity)))),
        }
    }

    fn reference_field(&self, entity: Entity) -> Result<&str, Error> {
        let field = match entity {
            Entity::Contact => self.config.contact_reference.as_deref(),
            Entity::Lead => Some(self.config.lead_reference.as_str()),
        };
        field.ok_or_else(|| Error::Unsupported {
            system: SYSTEM,
            doing: "find contacts by a reference: contact_reference names no field".to_owned(),
        })
    }

    /// The records with these ids, as others are told of them, in the order of the ids. Those that are gone are left out.
    pub(super) async fn records(&self, entity: Entity, ids: &[i64], setup: &Setup) -> Result<Vec<Record>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let metas = self.metas(entity).await?;
        let rows = self.rows(entity, ids, &metas, setup).await?;
        let mut records: Vec<(usize, Record)> = rows
            .iter()
            .filter_map(|row| {
                let id = row["id"].as_i64()?;
                let place = ids.iter().position(|&asked| asked == id)?;
                Some((place, record(id, row, &metas)))
            })
            .collect();
        records.sort_by_key(|(place, _)| *place);
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    async fn rows(&self, entity: Entity, ids: &[i64], metas: &Metas, setup: &Setup) -> Result<Vec<Value>, Error> {
        let mut fields: Vec<&str> = metas.keys().map(String::as_str).collect();
        fields.extend(
            ["write_date", "create_date"]
                .iter()
                .filter(|name| !metas.contains_key(**name)),
        );
        if entity == Entity::Contact {
            fields.extend(MECHANISMS);
        }
        // A search leaves out what is not there; `read` would fail for all of them. Deactivated ones are asked for by id only.
        let domain = json!([["id", "in", ids], active_or_not(metas)]);
        let params = json!([domain, 0, null, null, fields, setup.context()]);
        self.rpc
            .call(model_of(entity), "search_read", params, Effect::Reads)
            .await
    }

    /// The given fields as Tryton takes them; for contacts without [`REACHED_BY`], which come second.
    fn encoded(entity: Entity, fields: &Fields, metas: &Metas) -> Result<(Map<String, Value>, ReachedBy), Error> {
        let (mut values, mut reached_by) = (Map::new(), Vec::new());
        for (name, value) in fields {
            let meta = metas
                .get(name)
                .ok_or_else(|| rejected(name, "there is no such field that can be set"))?;
            let encoded = meta.encoded(name, value)?;
            let mechanism = REACHED_BY.into_iter().find(|kind| kind == name);
            match mechanism.filter(|_| entity == Entity::Contact) {
                Some(kind) => match encoded.as_str().map(stripped) {
                    Some(text) if !text.is_empty() => reached_by.push((kind, text.to_owned())),
                    _ => return Err(rejected(name, "it cannot be emptied from here; remove it in Tryton")),
                },
                None => {
                    values.insert(name.clone(), encoded);
                }
            }
        }
        Ok((values, reached_by))
    }

    async fn create(
        &self,
        entity: Entity,
        key: &Key,
        mut values: Map<String, Value>,
        mut reached_by: ReachedBy,
        setup: &Setup,
    ) -> Result<i64, Error> {
        match (entity, key) {
            (_, Key::Id(_)) => {
                return Err(Error::NotFound {
                    system: SYSTEM,
                    what: format!("record with this id in {}", model_of(entity)),
                });
            }
            (_, Key::Reference(reference)) => {
                values.insert(self.reference_field(entity)?.to_owned(), json!(reference));
            }
            (Entity::Contact, Key::Email(email)) => add_missing(&mut reached_by, &["email"], email),
            (Entity::Contact, Key::Phone(phone)) => add_missing(&mut reached_by, &["phone", "mobile"], phone),
            // Without its party, the lead would not be found by the key again.
            (Entity::Lead, _) => {
                let parties = self.parties(key, setup).await?;
                let given = values.get("party").and_then(Value::as_i64);
                let party = match (parties.as_slice(), given) {
                    (parties, Some(given)) if parties.contains(&given) => given,
                    (_, Some(_)) => return Err(rejected("party", "it is not reached by the key")),
                    ([party], None) => *party,
                    ([], None) => return Err(rejected("party", "no contact has the key; create it first")),
                    (_, None) => return Err(several("contacts")),
                };
                values.insert("party".to_owned(), json!(party));
            }
        }
        if !reached_by.is_empty() {
            let mechanisms: Vec<Value> = reached_by.iter().map(mechanism).collect();
            values.insert("contact_mechanisms".to_owned(), json!([["create", mechanisms]]));
        }
        let params = json!([[values], setup.context()]);
        let ids: Vec<i64> = self
            .rpc
            .call(model_of(entity), "create", params, Effect::Writes)
            .await?;
        ids.first().copied().ok_or_else(|| Error::Unreadable {
            system: SYSTEM,
            expected: "the id of what was created",
            problem: "there is none".to_owned(),
        })
    }

    /// Changes what differs; nothing, if nothing does.
    async fn change(
        &self,
        entity: Entity,
        id: i64,
        values: Map<String, Value>,
        reached_by: ReachedBy,
        metas: &Metas,
        setup: &Setup,
    ) -> Result<(), Error> {
        let rows = self.rows(entity, &[id], metas, setup).await?;
        let gone = || Error::NotFound {
            system: SYSTEM,
            what: format!("record with this id in {}", model_of(entity)),
        };
        let current = rows.first().ok_or_else(gone)?;
        let mut different: Map<String, Value> = values
            .into_iter()
            .filter(|(name, value)| {
                metas
                    .get(name)
                    .is_none_or(|meta| !meta.is_same(value, &current[name.as_str()]))
            })
            .collect();
        let mechanisms = mechanism_changes(reached_by, current)?;
        if !mechanisms.is_empty() {
            different.insert("contact_mechanisms".to_owned(), Value::Array(mechanisms));
        }
        if different.is_empty() {
            return Ok(());
        }
        let params = json!([[id], different, setup.context()]);
        let _: Value = self.rpc.call(model_of(entity), "write", params, Effect::Writes).await?;
        Ok(())
    }

    /// Of leads, those that are still open: a new chance is not to change one that was lost.
    async fn open(&self, ids: Vec<i64>, setup: &Setup) -> Result<Vec<i64>, Error> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let domain = json!([["id", "in", ids], ["state", "in", ["lead", "opportunity"]]]);
        let params = json!([domain, 0, null, [["id", "ASC"]], setup.context()]);
        self.rpc
            .call(model_of(Entity::Lead), "search", params, Effect::Reads)
            .await
    }

    /// Tells a refusal for the lack of permission, which Tryton does not tell apart, from one for the values.
    async fn explained(&self, entity: Entity, method: &str, error: Error) -> Error {
        let Error::Rejected {
            message, field: None, ..
        } = &error
        else {
            return error;
        };
        let model = model_of(entity);
        let access: Result<Value, Error> = self
            .rpc
            .call("ir.model.access", "get_access", json!([[model], {}]), Effect::Reads)
            .await;
        match access.map(|access| access[model][method].clone()) {
            Ok(allowed) if allowed == json!(false) || allowed == json!(0) => Error::Forbidden {
                system: SYSTEM,
                doing: format!("{method} {model}"),
                message: message.clone(),
            },
            _ => error,
        }
    }
}

/// A clause that is true of active records and of others; Tryton leaves the others out where none is about `active`.
pub(super) fn active_or_not(metas: &Metas) -> Value {
    if metas.contains_key("active") {
        json!(["active", "in", [true, false]])
    } else {
        json!([])
    }
}

fn several(what: &str) -> Error {
    Error::Conflict {
        system: SYSTEM,
        message: format!("several {what} have this key; none was changed"),
    }
}

fn add_missing(reached_by: &mut ReachedBy, kinds: &[&'static str], value: &str) {
    let value = stripped(value);
    let is_there = |(kind, text): &(&'static str, String)| kinds.contains(kind) && text.eq_ignore_ascii_case(value);
    if !reached_by.iter().any(is_there) {
        reached_by.insert(0, (kinds[0], value.to_owned()));
    }
}

fn mechanism((kind, value): &(&'static str, String)) -> Value {
    json!({"type": kind, "value": value})
}

/// What to do to the mechanisms so that each way to be reached has its value: nothing if one of that type has it, else the
/// first of that type gets it, or a new one.
fn mechanism_changes(reached_by: ReachedBy, current: &Value) -> Result<Vec<Value>, Error> {
    let present = current.get("contact_mechanisms.").cloned().unwrap_or_else(|| json!([]));
    let present: Vec<OwnMechanism> = serde_json::from_value(present).map_err(|_| Error::Unreadable {
        system: SYSTEM,
        expected: "contact mechanisms",
        problem: "they have no type".to_owned(),
    })?;
    let mut changes = Vec::new();
    for wanted in reached_by {
        let (kind, value) = &wanted;
        let mut of_kind = present.iter().filter(|mechanism| mechanism.kind == *kind).peekable();
        let first = of_kind.peek().map(|mechanism| mechanism.id);
        let has = |mechanism: &OwnMechanism| {
            let text = mechanism.value.as_deref().unwrap_or_default();
            let same_number = international(text).is_some() && international(text) == international(value);
            text.eq_ignore_ascii_case(value) || (matches!(*kind, "phone" | "mobile" | "fax") && same_number)
        };
        match (of_kind.any(has), first) {
            (true, _) => {}
            (false, Some(id)) => changes.push(json!(["write", [id], {"value": value}])),
            (false, None) => changes.push(json!(["create", [mechanism(&wanted)]])),
        }
    }
    Ok(changes)
}

/// When a record, or one of its mechanisms, was last changed.
fn changed_at(row: &Value) -> Option<DateTime<Utc>> {
    let own = |row: &Value| time(&row["write_date"]).or_else(|| time(&row["create_date"]));
    let mechanisms = row.get("contact_mechanisms.").and_then(Value::as_array);
    let latest = mechanisms.into_iter().flatten().filter_map(own).max();
    own(row).max(latest)
}

fn record(id: i64, row: &Value, metas: &Metas) -> Record {
    let fields = metas
        .iter()
        .map(|(name, meta)| (name.clone(), meta.decoded(&row[name.as_str()])))
        .collect();
    Record {
        id: id.to_string(),
        fields,
        changed_at: changed_at(row),
    }
}

#[async_trait]
impl Crm for Tryton {
    async fn describe(&self, entity: Entity) -> Result<Vec<Field>, Error> {
        let metas = self.metas(entity).await?;
        Ok(metas.iter().map(|(name, meta)| meta.field(name)).collect())
    }

    async fn find(&self, entity: Entity, key: &Key) -> Result<Vec<Record>, Error> {
        let setup = self.setup().await?;
        let ids = self.ids(entity, key, &setup).await?;
        self.records(entity, &ids, &setup).await
    }

    async fn upsert(&self, entity: Entity, key: &Key, fields: &Fields) -> Result<Upserted, Error> {
        let _alone = self.writing.lock().await;
        let setup = self.setup().await?;
        let metas = self.metas(entity).await?;
        if let Some((field, problem)) = keys::problem(key) {
            return Err(rejected(field, problem));
        }
        let (values, reached_by) = Self::encoded(entity, fields, &metas)?;
        let mut ids = self.ids(entity, key, &setup).await?;
        if entity == Entity::Lead && matches!(key, Key::Email(_) | Key::Phone(_)) {
            ids = self.open(ids, &setup).await?;
        }
        let (id, created) = match ids.as_slice() {
            [] => match self.create(entity, key, values, reached_by, &setup).await {
                Ok(id) => (id, true),
                Err(error) => return Err(self.explained(entity, "create", error).await),
            },
            [id] => match self.change(entity, *id, values, reached_by, &metas, &setup).await {
                Ok(()) => (*id, false),
                Err(error) => return Err(self.explained(entity, "write", error).await),
            },
            _ => {
                return Err(several(match entity {
                    Entity::Contact => "contacts",
                    Entity::Lead => "open leads",
                }));
            }
        };
        Ok(Upserted {
            id: id.to_string(),
            created,
        })
    }

    async fn changes_since(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        self.changes(entity, cursor).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_be_reached_is_changed_only_if_no_mechanism_has_it() {
        let current = json!({"contact_mechanisms.": [
            {"id": 1, "type": "email", "value": "a@x.ro"},
            {"id": 2, "type": "email", "value": "B@x.ro"},
            {"id": 3, "type": "phone", "value": "+40 722 123 456"},
        ]});
        let changes = |kind, value: &str| mechanism_changes(vec![(kind, value.to_owned())], &current).unwrap();
        assert!(changes("email", "b@X.ro").is_empty());
        assert!(changes("phone", "+40722123456").is_empty());
        assert_eq!(changes("email", "c@x.ro"), [json!(["write", [1], {"value": "c@x.ro"}])]);
        assert_eq!(
            changes("mobile", "+40722123456"),
            [json!(["create", [{"type": "mobile", "value": "+40722123456"}]])]
        );
    }
}
