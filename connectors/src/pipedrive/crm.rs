//! Persons, and leads or deals: found by key, created or changed.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::api::{BATCH, Object, Row};
use super::model::{Meta, Metas, time};
use super::{Pipedrive, SYSTEM, rejected};
use crate::Crm;
use crate::error::Error;
use crate::keys::{self, international, is_same_number};
use crate::records::{Changes, Entity, Field, Fields, Key, Record, Upserted};
use crate::time::sleep;

/// So many digits at the end of a number are searched for, if it is not found as it is.
const LAST_DIGITS: usize = 7;

/// The given values, by the keys of their fields.
type Values = Map<String, Value>;

fn several(what: &str) -> Error {
    Error::Conflict {
        system: SYSTEM,
        message: format!("several {what} have this key; none was changed"),
    }
}

fn gone(object: Object) -> Error {
    Error::NotFound {
        system: SYSTEM,
        what: format!("record with this id among {}", object.name()),
    }
}

/// Whether a lead or deal is still open: a new chance is not to change one that was lost.
fn is_open(row: &Row) -> bool {
    let status = row.values.get("status").and_then(Value::as_str);
    let is_archived = row.values.get("is_archived").and_then(Value::as_bool);
    status.is_none_or(|status| status == "open") && is_archived != Some(true)
}

/// Whether a person is reached so.
fn is_reached(row: &Row, key: &Key) -> bool {
    match key {
        Key::Email(email) => {
            let is_it = |value: &&str| value.trim().eq_ignore_ascii_case(email.trim());
            row.listed("emails").iter().any(is_it)
        }
        Key::Phone(phone) => row.listed("phones").iter().any(|value| is_same_number(value, phone)),
        Key::Id(_) | Key::Reference(_) => false,
    }
}

/// A list such as `emails` in which this value is the primary one; the others stay.
fn with_primary(row: Option<&Row>, list: &str, value: &Value) -> Value {
    let current = row.and_then(|row| row.values.get(list)).and_then(Value::as_array);
    let mut entries = current.cloned().unwrap_or_default();
    let primary = entries.iter().position(|entry| entry["primary"] == true).unwrap_or(0);
    match entries.get_mut(primary) {
        Some(entry) => entry["value"] = value.clone(),
        None => entries.push(json!({"value": value, "primary": true, "label": "work"})),
    }
    Value::Array(entries)
}

/// The body that sets these values.
fn body(object: Object, mut values: Values, metas: &Metas, row: Option<&Row>) -> Result<Value, Error> {
    let (mut body, mut custom) = (Map::new(), Map::new());
    if object == Object::Leads && (values.contains_key("value") || values.contains_key("currency")) {
        let mut part = |key: &str| {
            let given = values.remove(key);
            given.or_else(|| row?.values.get(key).cloned()).unwrap_or_default()
        };
        let (amount, currency) = (part("value"), part("currency"));
        if amount.is_null() != currency.is_null() {
            return Err(rejected("currency", "a lead has a value and a currency, or neither"));
        }
        let money = json!({"amount": amount, "currency": currency});
        body.insert("value".to_owned(), if amount.is_null() { Value::Null } else { money });
    }
    for (key, value) in values {
        match metas.values().find(|meta| meta.key == key) {
            Some(meta) if meta.is_custom && object != Object::Leads => {
                custom.insert(key, value);
            }
            Some(meta) => match meta.list() {
                Some(list) => {
                    body.insert(list.to_owned(), with_primary(row, list, &value));
                }
                None => {
                    body.insert(key, value);
                }
            },
            None => {
                body.insert(key, value);
            }
        }
    }
    if !custom.is_empty() {
        body.insert("custom_fields".to_owned(), Value::Object(custom));
    }
    Ok(Value::Object(body))
}

/// An error with the name of its field as others know it; without, if it is none.
fn named(error: Error, metas: &Metas) -> Error {
    match error {
        Error::Rejected {
            system,
            field: Some(field),
            message,
        } => {
            let known = metas.iter().find(|(name, meta)| meta.key == field || **name == field);
            Error::Rejected {
                system,
                field: known.map(|(name, _)| name.clone()),
                message,
            }
        }
        error => error,
    }
}

impl Pipedrive {
    /// The key of the field that holds our reference, if there is one that can.
    pub(super) async fn reference_field(&self, entity: Entity) -> Result<String, Error> {
        let (key, name) = match entity {
            Entity::Contact => ("contact_reference", &self.config.contact_reference),
            Entity::Lead => ("lead_reference", &self.config.lead_reference),
        };
        let object = self.object(entity).name();
        let name = name.as_deref().map(str::trim).ok_or_else(|| Error::Unsupported {
            system: SYSTEM,
            doing: format!("find {object} by a reference: {key} names no field"),
        })?;
        let metas = self.metas(entity).await?;
        let meta = metas.get(name).or_else(|| metas.values().find(|meta| meta.key == name));
        match meta.filter(|meta| meta.is_custom) {
            Some(meta) if meta.holds_references() => Ok(meta.key.clone()),
            Some(_) => Err(rejected(key, format!("{name} of {object} is not a text"))),
            None if metas.values().filter(|meta| meta.field("").label == name).count() > 1 => Err(rejected(
                key,
                format!("{object} have several fields {name}; use the key of one"),
            )),
            None => Err(rejected(key, format!("{object} have no custom field {name}"))),
        }
    }

    /// What has this key, as it is now.
    async fn found(&self, entity: Entity, key: &Key) -> Result<Vec<Row>, Error> {
        let object = self.object(entity);
        let field = match key {
            Key::Reference(_) => self.reference_field(entity).await?,
            _ => String::new(),
        };
        if keys::problem(key).is_some() {
            return Ok(Vec::new());
        }
        let mut rows = match (entity, key) {
            (_, Key::Id(id)) if object.is_id(id) => return self.api.read(object, std::slice::from_ref(id)).await,
            (_, Key::Id(_)) => return Ok(Vec::new()),
            (_, Key::Reference(reference)) => {
                let ids = self.api.search(object, reference.trim(), "custom_fields", true).await?;
                self.api.read(object, &ids).await?
            }
            (Entity::Contact, _) => self.reached(key).await?,
            (Entity::Lead, _) => {
                let mut rows = Vec::new();
                for person in self.persons(key).await? {
                    let query = [("person_id", person.id), ("limit", super::api::PAGE.to_string())];
                    rows.extend(self.api.list(object, &query, None).await?.rows);
                }
                rows
            }
        };
        if let Some(id) = self.lately.created(entity, key)
            && !rows.iter().any(|row| row.id == id)
        {
            rows.extend(self.api.read(object, &[id]).await?);
        }
        rows.retain(|row| {
            let has_key = match (entity, key) {
                (_, Key::Reference(reference)) => {
                    let value = row.values.get(&field).and_then(Value::as_str);
                    value.is_some_and(|value| value.trim() == reference.trim())
                }
                (Entity::Contact, _) => is_reached(row, key),
                // They are their person's, or were just created so.
                (Entity::Lead, _) => true,
            };
            has_key && !row.is_deleted()
        });
        rows.sort_by(|one, other| (one.id.len(), &one.id).cmp(&(other.id.len(), &other.id)));
        Ok(rows)
    }

    /// The persons that a search finds by e-mail address or telephone number.
    async fn reached(&self, key: &Key) -> Result<Vec<Row>, Error> {
        let persons = Object::Persons;
        match key {
            Key::Email(email) => {
                let ids = self.api.search(persons, email.trim(), "email", true).await?;
                self.api.read(persons, &ids).await
            }
            Key::Phone(phone) => {
                let digits = international(phone).unwrap_or_default();
                let ids = self.api.search(persons, &format!("+{digits}"), "phone", true).await?;
                let rows = self.api.read(persons, &ids).await?;
                if rows.iter().any(|row| is_reached(row, key)) {
                    return Ok(rows);
                }
                // Perhaps it is written otherwise.
                let last = &digits[digits.len().saturating_sub(LAST_DIGITS)..];
                let mut ids = self.api.search(persons, last, "phone", false).await?;
                ids.truncate(BATCH);
                self.api.read(persons, &ids).await
            }
            Key::Id(_) | Key::Reference(_) => Ok(Vec::new()),
        }
    }

    /// The persons that have this key.
    async fn persons(&self, key: &Key) -> Result<Vec<Row>, Error> {
        Box::pin(self.found(Entity::Contact, key)).await
    }

    /// What an upsert may change.
    async fn candidates(&self, entity: Entity, key: &Key) -> Result<Vec<Row>, Error> {
        let mut rows = self.found(entity, key).await?;
        if entity == Entity::Lead && matches!(key, Key::Email(_) | Key::Phone(_)) {
            rows.retain(is_open);
        }
        Ok(rows)
    }

    async fn create(&self, entity: Entity, key: &Key, mut values: Values, metas: &Metas) -> Result<String, Error> {
        let object = self.object(entity);
        match (entity, key) {
            (_, Key::Id(_)) => return Err(gone(object)),
            (_, Key::Reference(reference)) => {
                values.insert(self.reference_field(entity).await?, json!(reference.trim()));
            }
            (Entity::Contact, Key::Email(email)) => {
                values.insert("email".to_owned(), json!(email.trim()));
            }
            (Entity::Contact, Key::Phone(phone)) => {
                values.insert("phone".to_owned(), json!(phone.trim()));
            }
            // Without its person, the lead would not be found by the key again.
            (Entity::Lead, _) => {
                let persons = self.persons(key).await?;
                let given = values.get("person_id").map(Value::to_string);
                let person = match (persons.as_slice(), given) {
                    (persons, Some(given)) => persons
                        .iter()
                        .find(|person| person.id == given)
                        .ok_or_else(|| rejected("person_id", "it is not reached by the key"))?,
                    ([person], None) => person,
                    ([], None) => return Err(rejected("person_id", "no person has the key; create it first")),
                    (_, None) => return Err(several("persons")),
                };
                let id: Option<u64> = person.id.parse().ok();
                values.insert("person_id".to_owned(), json!(id));
            }
        }
        let is_named = values
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| !name.trim().is_empty());
        if object == Object::Persons && !is_named {
            // A person without a name is refused; this is what people then see instead.
            let (Key::Id(text) | Key::Email(text) | Key::Phone(text) | Key::Reference(text)) = key;
            values.insert("name".to_owned(), json!(text.trim()));
        }
        let body = body(object, values, metas, None)?;
        self.lately.create(entity, key, self.api.create(object, &body)).await
    }

    /// Changes what differs; nothing, if nothing does.
    async fn change(&self, entity: Entity, row: &Row, values: Values, metas: &Metas) -> Result<(), Error> {
        let is_different = |(key, value): &(String, Value)| {
            let meta = metas.values().find(|meta| meta.key == *key);
            meta.is_none_or(|meta| !meta.is_same(value, row))
        };
        let different: Values = values.into_iter().filter(is_different).collect();
        if different.is_empty() {
            return Ok(());
        }
        let object = self.object(entity);
        let body = body(object, different, metas, Some(row))?;
        self.api.change(object, &row.id, &body).await
    }

    /// The given fields as Pipedrive takes them; refused, if with them the record would not have its key.
    async fn encoded(&self, entity: Entity, key: &Key, fields: &Fields, metas: &Metas) -> Result<Values, Error> {
        let mut values = Values::new();
        for (name, value) in fields {
            let by_key = || metas.values().find(|meta| meta.is_custom && meta.key == *name);
            let meta: &Meta = metas
                .get(name)
                .or_else(by_key)
                .ok_or_else(|| rejected(name.clone(), "there is no such field that can be set"))?;
            values.insert(meta.key.clone(), meta.encoded(name, value)?);
        }
        let kept = match (entity, key) {
            (Entity::Contact, Key::Email(email)) => Some(("email".to_owned(), email)),
            (Entity::Contact, Key::Phone(phone)) => Some(("phone".to_owned(), phone)),
            (_, Key::Reference(reference)) => Some((self.reference_field(entity).await?, reference)),
            _ => None,
        };
        if let Some((field, key)) = kept
            && let Some(value) = values.get(&field).map(|value| value.as_str().unwrap_or_default())
            && !value.trim().eq_ignore_ascii_case(key.trim())
            && !is_same_number(value, key)
        {
            let message = "it is not the key; name the record by its id to change it";
            return Err(named(rejected(field, message), metas));
        }
        Ok(values)
    }

    /// Records as others are told of them.
    pub(super) async fn told(&self, entity: Entity, rows: Vec<Row>) -> Result<Vec<Record>, Error> {
        let metas = self.metas(entity).await?;
        let told = |row: Row| {
            let fields = metas.iter().map(|(name, meta)| (name.clone(), meta.decoded(&row)));
            Record {
                fields: fields.collect(),
                changed_at: row.values.get("update_time").and_then(time),
                id: row.id,
            }
        };
        Ok(rows.into_iter().map(told).collect())
    }
}

#[async_trait]
impl Crm for Pipedrive {
    async fn describe(&self, entity: Entity) -> Result<Vec<Field>, Error> {
        let metas = self.metas(entity).await?;
        Ok(metas.iter().map(|(name, meta)| meta.field(name)).collect())
    }

    async fn find(&self, entity: Entity, key: &Key) -> Result<Vec<Record>, Error> {
        let rows = self.found(entity, key).await?;
        self.told(entity, rows).await
    }

    async fn upsert(&self, entity: Entity, key: &Key, fields: &Fields) -> Result<Upserted, Error> {
        let _alone = self.writing.lock().await;
        if let Some((field, problem)) = keys::problem(key) {
            return Err(rejected(field, problem));
        }
        let metas = self.metas(entity).await?;
        let values = self.encoded(entity, key, fields, &metas).await?;
        let mut rows = self.candidates(entity, key).await?;
        if rows.is_empty()
            && !matches!(key, Key::Id(_))
            && let Some(wait) = self.lately.unsettled(entity, key)
        {
            tracing::debug!(
                connector.kind = SYSTEM,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "waiting until the search is sure to know what was created before"
            );
            sleep(wait).await;
            rows = self.candidates(entity, key).await?;
        }
        let (outcome, created) = match rows.as_slice() {
            [] => (self.create(entity, key, values, &metas).await, true),
            [row] => {
                let changed = self.change(entity, row, values, &metas).await;
                (changed.map(|()| row.id.clone()), false)
            }
            _ => {
                return Err(several(match self.object(entity) {
                    Object::Persons => "persons",
                    Object::Deals => "open deals",
                    Object::Leads => "open leads",
                }));
            }
        };
        let id = outcome.map_err(|error| named(error, &metas))?;
        Ok(Upserted { id, created })
    }

    async fn changes_since(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        self.changes(entity, cursor).await
    }
}
