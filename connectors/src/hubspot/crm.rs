//! Contacts and deals: found by key, created or changed.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::api::Row;
use super::model::{Metas, time};
use super::{Hubspot, SYSTEM, object_of, rejected};
use crate::Crm;
use crate::error::Error;
use crate::keys::{self, international, is_same_number};
use crate::records::{Changes, Entity, Field, Fields, Key, Record, Upserted};
use crate::time::sleep;

/// The properties by which a contact is reached by telephone.
const PHONES: [&str; 2] = ["phone", "mobilephone"];
/// What HubSpot makes of them for searches: the digits, without the country's.
const CALCULATED: [&str; 2] = [
    "hs_searchable_calculated_phone_number",
    "hs_searchable_calculated_mobile_number",
];
/// So many digits at the end of a number are searched for; what has them is compared as a whole.
const LAST_DIGITS: usize = 7;
/// Whether a deal is won or lost.
const IS_CLOSED: &str = "hs_is_closed";

/// The property that says when an object was last changed.
pub(super) const fn changed_property(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "lastmodifieddate",
        Entity::Lead => "hs_lastmodifieddate",
    }
}

/// Whether a text is an id, which HubSpot numbers.
fn is_id(id: &str) -> bool {
    (1..=19).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0')
}

/// Whether a search, or a list that may lag behind like one, decides whether there is something with the key.
const fn lags(entity: Entity, key: &Key) -> bool {
    matches!(
        (entity, key),
        (Entity::Contact, Key::Phone(_)) | (Entity::Lead, Key::Email(_) | Key::Phone(_))
    )
}

fn has_number(row: &Row, phone: &str) -> bool {
    PHONES.iter().any(|property| is_same_number(row.text(property), phone))
}

fn several(what: &str) -> Error {
    Error::Conflict {
        system: SYSTEM,
        message: format!("several {what} have this key; none was changed"),
    }
}

fn gone(entity: Entity) -> Error {
    Error::NotFound {
        system: SYSTEM,
        what: format!("record with this id among {}", object_of(entity)),
    }
}

impl Hubspot {
    /// The property that holds our reference, if it can.
    pub(super) async fn reference_property(&self, entity: Entity) -> Result<&str, Error> {
        let key = match entity {
            Entity::Contact => "contact_reference",
            Entity::Lead => "lead_reference",
        };
        let object = object_of(entity);
        let name = self.reference_name(entity).ok_or_else(|| Error::Unsupported {
            system: SYSTEM,
            doing: format!("find {object} by a reference: {key} names no property"),
        })?;
        match self
            .metas(entity)
            .await?
            .get(name)
            .map(super::model::Meta::holds_references)
        {
            Some(Ok(())) => Ok(name),
            Some(Err(problem)) => Err(rejected(key, format!("{name} of {object}: {problem}"))),
            None => Err(rejected(key, format!("{object} have no property {name}"))),
        }
    }

    /// Reads objects by id, or by a unique property; the oldest first.
    pub(super) async fn rows(
        &self,
        entity: Entity,
        ids: &[String],
        id_property: Option<&str>,
    ) -> Result<Vec<Row>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let metas = self.metas(entity).await?;
        let mut properties: Vec<&str> = metas.keys().map(String::as_str).collect();
        let mut needed = match entity {
            Entity::Contact => PHONES.to_vec(),
            Entity::Lead => vec![IS_CLOSED],
        };
        needed.push(changed_property(entity));
        properties.extend(needed.into_iter().filter(|name| !metas.contains_key(*name)));
        let mut rows = self.api.read(entity, ids, id_property, &properties).await?;
        rows.sort_by_key(|row| row.id.parse::<u64>().unwrap_or(u64::MAX));
        rows.dedup_by(|one, other| one.id == other.id);
        Ok(rows)
    }

    /// What has this key, as it is now; the oldest first.
    async fn found(&self, entity: Entity, key: &Key) -> Result<Vec<Row>, Error> {
        if let Key::Reference(_) = key {
            self.reference_property(entity).await?;
        }
        if keys::problem(key).is_some() {
            return Ok(Vec::new());
        }
        match (entity, key) {
            (_, Key::Id(id)) if is_id(id) => self.rows(entity, std::slice::from_ref(id), None).await,
            (_, Key::Id(_)) => Ok(Vec::new()),
            (_, Key::Reference(reference)) => {
                let property = self.reference_property(entity).await?;
                self.rows(entity, &[reference.trim().to_owned()], Some(property)).await
            }
            (Entity::Contact, Key::Email(email)) => {
                self.rows(entity, &[email.trim().to_lowercase()], Some("email")).await
            }
            (Entity::Contact, Key::Phone(phone)) => {
                let mut ids = self.ids_by_phone(phone).await?;
                ids.extend(self.lately.created(entity, key).filter(|id| !ids.contains(id)));
                let mut rows = self.rows(entity, &ids, None).await?;
                rows.retain(|row| has_number(row, phone));
                Ok(rows)
            }
            (Entity::Lead, _) => {
                let contacts = self.contacts(key).await?;
                self.deals(&contacts, key).await
            }
        }
    }

    /// The contacts that have this key.
    async fn contacts(&self, key: &Key) -> Result<Vec<Row>, Error> {
        Box::pin(self.found(Entity::Contact, key)).await
    }

    /// The deals of contacts that have this key.
    async fn deals(&self, contacts: &[Row], key: &Key) -> Result<Vec<Row>, Error> {
        let mut ids = Vec::new();
        for contact in contacts {
            ids.extend(self.api.deals_of(&contact.id).await?);
        }
        ids.extend(self.lately.created(Entity::Lead, key));
        ids.sort_unstable();
        ids.dedup();
        self.rows(Entity::Lead, &ids, None).await
    }

    async fn ids_by_phone(&self, phone: &str) -> Result<Vec<String>, Error> {
        let metas = self.metas(Entity::Contact).await?;
        let digits = international(phone).unwrap_or_default();
        let last = &digits[digits.len().saturating_sub(LAST_DIGITS)..];
        let filter = |property: &str, operator: &str, value: String| json!({"filters": [{"propertyName": property, "operator": operator, "value": value}]});
        let mut groups: Vec<Value> = PHONES
            .iter()
            .map(|property| filter(property, "EQ", format!("+{digits}")))
            .collect();
        // Numbers that are written otherwise.
        let calculated = CALCULATED.iter().filter(|property| metas.contains_key(**property));
        groups.extend(calculated.map(|property| filter(property, "CONTAINS_TOKEN", format!("*{last}"))));
        let rows = self
            .api
            .search(Entity::Contact, &groups, "hs_object_id", &PHONES, super::api::BATCH)
            .await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// What an upsert may change: of leads that are known by their contact only those that are open. A new chance is not to
    /// change one that was lost.
    async fn candidates(&self, entity: Entity, key: &Key) -> Result<Vec<Row>, Error> {
        let mut rows = self.found(entity, key).await?;
        if entity == Entity::Lead && matches!(key, Key::Email(_) | Key::Phone(_)) {
            rows.retain(|row| row.text(IS_CLOSED) != "true");
        }
        Ok(rows)
    }

    async fn create(&self, entity: Entity, key: &Key, mut values: Map<String, Value>) -> Result<(String, bool), Error> {
        if entity == Entity::Lead {
            let defaults = [
                ("pipeline", &self.config.pipeline),
                ("dealstage", &self.config.deal_stage),
            ];
            for (property, default) in defaults {
                if let (false, Some(default)) = (values.contains_key(property), default) {
                    values.insert(property.to_owned(), json!(default));
                }
            }
        }
        let contact = match (entity, key) {
            (_, Key::Id(_)) => return Err(gone(entity)),
            (_, Key::Reference(reference)) => {
                let property = self.reference_property(entity).await?;
                values.insert(property.to_owned(), json!(reference.trim()));
                return self.api.upsert(entity, property, reference.trim(), &values).await;
            }
            (Entity::Contact, Key::Email(email)) => {
                values.insert("email".to_owned(), json!(email.trim()));
                return self.api.upsert(entity, "email", email.trim(), &values).await;
            }
            (Entity::Contact, Key::Phone(phone)) => {
                if !PHONES.iter().any(|property| {
                    let value = values.get(*property).and_then(Value::as_str);
                    value.is_some_and(|value| is_same_number(value, phone))
                }) {
                    let free = PHONES.iter().find(|property| !values.contains_key(**property));
                    let free = free.ok_or_else(|| rejected("phone", "neither it nor mobilephone is the key"))?;
                    values.insert((*free).to_owned(), json!(phone.trim()));
                }
                None
            }
            // Without its contact, the deal would not be found by the key again.
            (Entity::Lead, _) => match self.contacts(key).await?.as_slice() {
                [contact] => Some(contact.id.clone()),
                [] => return Err(rejected("contact", "no contact has the key; create it first")),
                _ => return Err(several("contacts")),
            },
        };
        let created = self.api.create(entity, &values, contact.as_deref());
        Ok((self.lately.create(entity, key, created).await?, true))
    }

    /// Changes what differs; nothing, if nothing does.
    async fn change(
        &self,
        entity: Entity,
        key: &Key,
        row: &Row,
        values: Map<String, Value>,
        metas: &Metas,
    ) -> Result<(), Error> {
        if let (Entity::Contact, Key::Phone(phone)) = (entity, key) {
            let will_be = |property: &&str| {
                values
                    .get(*property)
                    .and_then(Value::as_str)
                    .unwrap_or(row.text(property))
            };
            if !PHONES.iter().any(|property| is_same_number(will_be(property), phone)) {
                return Err(rejected(
                    "phone",
                    "it would not have the key any more; name it by its id to change that",
                ));
            }
        }
        let is_different = |(name, value): &(String, Value)| {
            let value = value.as_str().unwrap_or_default();
            metas
                .get(name)
                .is_none_or(|meta| !meta.is_same(value, row.properties.get(name)))
        };
        let different: Map<String, Value> = values.into_iter().filter(is_different).collect();
        if different.is_empty() {
            return Ok(());
        }
        self.api.change(entity, &row.id, &different).await
    }

    /// The given fields as HubSpot takes them; refused, if with them the record would not have its key.
    fn encoded(&self, entity: Entity, key: &Key, fields: &Fields, metas: &Metas) -> Result<Map<String, Value>, Error> {
        let mut values = Map::new();
        for (name, value) in fields {
            let meta = metas
                .get(name)
                .ok_or_else(|| rejected(name.clone(), "there is no such property that can be set"))?;
            values.insert(name.clone(), json!(meta.encoded(value)?));
        }
        let known_by = match (entity, key) {
            (Entity::Contact, Key::Email(email)) => Some(("email", email)),
            (_, Key::Reference(reference)) => self.reference_name(entity).map(|name| (name, reference)),
            _ => None,
        };
        if let Some((name, key)) = known_by
            && let Some(value) = values.get(name).and_then(Value::as_str)
            && !value.trim().eq_ignore_ascii_case(key.trim())
        {
            return Err(rejected(
                name,
                "it is not the key; name the record by its id to change it",
            ));
        }
        Ok(values)
    }

    /// Objects as others are told of them.
    pub(super) async fn told(&self, entity: Entity, rows: Vec<Row>) -> Result<Vec<Record>, Error> {
        let metas = self.metas(entity).await?;
        let told = |row: Row| {
            let changed = time(row.text(changed_property(entity)));
            let fields = metas
                .iter()
                .map(|(name, meta)| (name.clone(), meta.decoded(row.properties.get(name))));
            Record {
                fields: fields.collect(),
                changed_at: changed.or_else(|| time(row.updated_at.as_deref()?)),
                id: row.id,
            }
        };
        Ok(rows.into_iter().map(told).collect())
    }
}

#[async_trait]
impl Crm for Hubspot {
    async fn describe(&self, entity: Entity) -> Result<Vec<Field>, Error> {
        let metas = self.metas(entity).await?;
        Ok(metas.values().map(super::model::Meta::field).collect())
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
        let values = self.encoded(entity, key, fields, &metas)?;
        let mut rows = self.candidates(entity, key).await?;
        if rows.is_empty()
            && lags(entity, key)
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
        let (id, created) = match rows.as_slice() {
            [] => self.create(entity, key, values).await?,
            [row] => {
                self.change(entity, key, row, values, &metas).await?;
                (row.id.clone(), false)
            }
            _ => {
                return Err(several(match entity {
                    Entity::Contact => "contacts",
                    Entity::Lead => "open deals",
                }));
            }
        };
        Ok(Upserted { id, created })
    }

    async fn changes_since(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        self.changes(entity, cursor).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_and_nothing_else() {
        assert!(is_id("101") && is_id("2000000000"));
        for other in ["", "0", "01", "-1", "1 OR 1=1", "../1", "1e3", "99999999999999999999"] {
            assert!(!is_id(other), "{other:?}");
        }
    }
}
