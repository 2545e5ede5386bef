//! Contacts are partners, leads are leads and opportunities.
//!
//! Both are found by their own fields: an e-mail address whatever its case, a telephone number whatever stands between its digits.
//! What is archived is found by its id and by our reference only: a lead that was lost is archived, and is still ours.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::erp::any;
use super::model::{Metas, PHONES, email_of, model_of};
use super::rpc::{Call, unreadable};
use super::setup::Setup;
use super::values::{escaped, is_storable, record_id, stripped, time};
use super::{Odoo, SYSTEM};
use crate::Crm;
use crate::error::Error;
use crate::keys::{self, international, is_same_number};
use crate::records::{Changes, Entity, Field, Fields, Key, Record, Upserted};

/// At most so many records are taken for the ones that share a key; more are no key.
const SHARED: usize = 100;

/// Which records a key may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    /// Of leads, those that are still open: a new chance is not to change one that was won.
    Open,
}

fn rejected(field: &str, message: &str) -> Error {
    Error::Rejected {
        system: SYSTEM,
        field: Some(field.to_owned()),
        message: message.to_owned(),
    }
}

fn gone(entity: Entity) -> Error {
    Error::NotFound {
        system: SYSTEM,
        what: format!("record with this id in {}", model_of(entity)),
    }
}

/// The fields for telephone numbers that there are.
fn phones(metas: &Metas) -> impl Iterator<Item = &'static str> {
    PHONES.into_iter().filter(|name| metas.get(name).is_some())
}

/// What finds the records with an e-mail address.
fn with_email(entity: Entity, email: &str, metas: &Metas) -> Value {
    let (field, pattern) = (email_of(entity), escaped(email));
    // Mail gateways write `Ana <ana@example.ro>`.
    let mut clauses = vec![
        json!([field, "=ilike", pattern]),
        json!([field, "=ilike", format!("%<{pattern}>")]),
    ];
    if metas.get("email_normalized").is_some() {
        clauses.push(json!(["email_normalized", "=", email.to_lowercase()]));
    }
    Value::Array(any(clauses))
}

/// What finds the records with a telephone number, and perhaps others.
fn with_phone(digits: &str, metas: &Metas) -> Value {
    // Digits only, so nothing to be escaped; what may stand between them is a matter of taste.
    let spread: Vec<String> = digits.chars().map(String::from).collect();
    let pattern = format!("%{}", spread.join("%"));
    Value::Array(any(phones(metas)
        .map(|field| json!([field, "=ilike", pattern]))
        .collect()))
}

impl Odoo {
    /// The ids of what has this key, the oldest first.
    async fn ids(
        &self,
        entity: Entity,
        key: &Key,
        which: Which,
        metas: &Metas,
        setup: &Setup,
    ) -> Result<Vec<i64>, Error> {
        let (domain, archived) = match key {
            Key::Id(id) => match record_id(id) {
                Some(id) => (json!([["id", "=", id]]), true),
                None => return Ok(Vec::new()),
            },
            Key::Reference(reference) => {
                let field = self.reference_field(entity, metas)?;
                if !is_storable(reference) || stripped(reference).is_empty() || reference.len() > keys::LONGEST {
                    return Ok(Vec::new());
                }
                (json!([[field, "=", reference]]), true)
            }
            Key::Email(email) => {
                let email = stripped(email);
                if !is_storable(email) || email.is_empty() || email.len() > keys::LONGEST {
                    return Ok(Vec::new());
                }
                (with_email(entity, email, metas), false)
            }
            Key::Phone(phone) => match international(phone) {
                Some(digits) if (7..=keys::LONGEST).contains(&digits.len()) => (with_phone(&digits, metas), false),
                _ => return Ok(Vec::new()),
            },
        };
        let mut domain = domain.as_array().cloned().unwrap_or_default();
        if domain.is_empty() {
            return Ok(Vec::new());
        }
        if which == Which::Open && entity == Entity::Lead {
            domain.extend(any(vec![
                json!(["probability", "=", false]),
                json!(["probability", "<", 100]),
            ]));
        }
        let fields: Vec<&str> = phones(metas).collect();
        let context = setup.context(&[("active_test", json!(!archived))]);
        let mut call = Call::search_read(model_of(entity), Value::Array(domain), &fields)
            .with("order", json!("id"))
            .context(context);
        if !matches!(key, Key::Phone(_)) {
            call = call.with("limit", json!(SHARED));
        }
        let rows: Vec<Value> = self.rpc.call(call).await?;
        let is_meant = |row: &&Value| match key {
            Key::Phone(phone) => fields
                .iter()
                .filter_map(|field| row[*field].as_str())
                .any(|number| is_same_number(number, phone)),
            _ => true,
        };
        let ids = rows.iter().filter(is_meant).filter_map(|row| row["id"].as_i64());
        Ok(ids.take(SHARED).collect())
    }

    /// The field that holds our reference, as this version calls it, if the model has it.
    pub(super) fn reference_field<'a>(&self, entity: Entity, metas: &'a Metas) -> Result<&'a str, Error> {
        let (key, field) = match entity {
            Entity::Contact => ("contact_reference", &self.config.contact_reference),
            Entity::Lead => ("lead_reference", &self.config.lead_reference),
        };
        match metas.get(field) {
            Some(meta) if meta.is_text() => Ok(&meta.there),
            _ => Err(rejected(key, &format!("{} has no such text field", model_of(entity)))),
        }
    }

    /// The records with these ids, as others are told of them, in the order of the ids. Those that are gone are left out.
    pub(super) async fn records(
        &self,
        entity: Entity,
        ids: &[i64],
        metas: &Metas,
        setup: &Setup,
    ) -> Result<Vec<Record>, Error> {
        let rows = self.rows(entity, ids, metas, setup).await?;
        let mut records: Vec<(usize, Record)> = rows
            .iter()
            .filter_map(|row| {
                let id = row["id"].as_i64()?;
                let place = ids.iter().position(|&asked| asked == id)?;
                Some((place, record(id, row, metas)))
            })
            .collect();
        records.sort_by_key(|(place, _)| *place);
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    async fn rows(&self, entity: Entity, ids: &[i64], metas: &Metas, setup: &Setup) -> Result<Vec<Value>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let stamps = ["write_date", "create_date"];
        let fields: BTreeSet<&str> = metas.names_there().into_iter().chain(stamps).collect();
        let fields: Vec<&str> = fields.into_iter().collect();
        // A search leaves out what is not there; `read` would fail for all of them.
        let call = Call::search_read(model_of(entity), json!([["id", "in", ids]]), &fields)
            .context(setup.context(&[("active_test", json!(false))]));
        self.rpc.call(call).await
    }

    /// The given fields as Odoo takes them, by the names that it has for them.
    fn encoded(fields: &Fields, metas: &Metas) -> Result<Map<String, Value>, Error> {
        let mut encoded = Map::new();
        for (name, value) in fields {
            let meta = metas
                .get(name)
                .ok_or_else(|| rejected(name, "there is no such field that can be set"))?;
            if encoded.insert(meta.there.clone(), meta.encoded(name, value)?).is_some() {
                return Err(rejected(name, "it is given twice, under its old name and its new one"));
            }
        }
        Ok(encoded)
    }

    async fn create(
        &self,
        entity: Entity,
        key: &Key,
        values: Map<String, Value>,
        metas: &Metas,
        setup: &Setup,
    ) -> Result<i64, Error> {
        let values = match key {
            Key::Id(_) => return Err(gone(entity)),
            Key::Reference(reference) => {
                let field = self.reference_field(entity, metas)?;
                let mut values = values;
                let given = values.insert(field.to_owned(), json!(reference));
                if given.is_some_and(|given| given.as_str() != Some(reference)) {
                    return Err(rejected(metas.name_here(field).unwrap_or(field), NOT_THE_KEY));
                }
                values
            }
            Key::Email(_) | Key::Phone(_) => keyed(entity, key, values, metas)?,
        };
        let missing = metas
            .iter()
            .find(|(_, meta)| meta.is_required() && values.get(&meta.there).is_none_or(|value| *value == json!(false)));
        if let Some((name, _)) = missing {
            return Err(rejected(name, "a new record needs it"));
        }
        // Old versions know nothing of lists; JSON-2 documents nothing else.
        let values = if self.rpc.is_json_2() {
            json!([values])
        } else {
            Value::Object(values)
        };
        let call = Call::new(model_of(entity), "create")
            .argument("vals_list", values)
            .context(setup.context(&[]));
        let created: Value = self.rpc.call(call).await?;
        created
            .as_i64()
            .or_else(|| created[0].as_i64())
            .ok_or_else(|| unreadable("the id of what was created", "there is none"))
    }

    /// Changes what differs; nothing, if nothing does.
    async fn change(
        &self,
        entity: Entity,
        key: &Key,
        id: i64,
        values: Map<String, Value>,
        metas: &Metas,
        setup: &Setup,
    ) -> Result<(), Error> {
        let rows = self.rows(entity, &[id], metas, setup).await?;
        let current = rows.first().ok_or_else(|| gone(entity))?;
        let is_same = |there: &str, value: &Value| {
            let meta = metas.name_here(there).and_then(|name| metas.get(name));
            meta.is_some_and(|meta| meta.is_same(value, &current[there]))
        };
        let mut different = values;
        different.retain(|there, value| !is_same(there, value));
        if different.is_empty() {
            return Ok(());
        }
        keeps_key(entity, key, &different, current, metas)?;
        if let Key::Reference(reference) = key {
            let field = self.reference_field(entity, metas)?;
            if different
                .get(field)
                .is_some_and(|value| value.as_str() != Some(reference))
            {
                return Err(rejected(metas.name_here(field).unwrap_or(field), NOT_THE_KEY));
            }
        }
        let call = Call::new(model_of(entity), "write")
            .on(vec![id])
            .argument("vals", Value::Object(different))
            .context(setup.context(&[]));
        let _: Value = self.rpc.call(call).await?;
        Ok(())
    }

    async fn put(
        &self,
        entity: Entity,
        key: &Key,
        fields: &Fields,
        metas: &Metas,
        setup: &Setup,
    ) -> Result<Upserted, Error> {
        let values = Self::encoded(fields, metas)?;
        let ids = self.ids(entity, key, Which::Open, metas, setup).await?;
        let (id, created) = match ids.as_slice() {
            [] => (self.create(entity, key, values, metas, setup).await?, true),
            [id] => {
                self.change(entity, key, *id, values, metas, setup).await?;
                (*id, false)
            }
            _ => {
                let what = match entity {
                    Entity::Contact => "contacts",
                    Entity::Lead => "open leads",
                };
                return Err(Error::Conflict {
                    system: SYSTEM,
                    message: format!("several {what} have this key; none was changed"),
                });
            }
        };
        Ok(Upserted {
            id: id.to_string(),
            created,
        })
    }
}

/// The values of a new record that is to be found by its key again.
fn keyed(
    entity: Entity,
    key: &Key,
    mut values: Map<String, Value>,
    metas: &Metas,
) -> Result<Map<String, Value>, Error> {
    let text = |values: &Map<String, Value>, field: &str| values.get(field).and_then(Value::as_str).map(str::to_owned);
    match key {
        Key::Email(email) => {
            let field = email_of(entity);
            let given = text(&values, field);
            if given.is_none() {
                values.insert(field.to_owned(), json!(stripped(email)));
            } else if given.is_none_or(|given| !stripped(&given).eq_ignore_ascii_case(stripped(email))) {
                return Err(rejected(field, NOT_THE_KEY));
            }
        }
        Key::Phone(phone) => {
            let writable: Vec<&str> = phones(metas).filter(|field| *field != "phone_sanitized").collect();
            let has_it = |field: &&str| text(&values, field).is_some_and(|given| is_same_number(&given, phone));
            if !writable.iter().any(has_it) {
                let free = writable.iter().find(|field| text(&values, field).is_none());
                let free = free.ok_or_else(|| rejected("phone", NOT_THE_KEY))?;
                values.insert((*free).to_owned(), json!(stripped(phone)));
            }
        }
        Key::Id(_) | Key::Reference(_) => {}
    }
    Ok(values)
}

const NOT_THE_KEY: &str =
    "it differs from the key, by which the record could not be found again; change it by the record's id";

/// Refuses a change after which the record would not be found by its key again, and the next upsert would create another.
fn keeps_key(
    entity: Entity,
    key: &Key,
    different: &Map<String, Value>,
    current: &Value,
    metas: &Metas,
) -> Result<(), Error> {
    let after = |field: &str| {
        different
            .get(field)
            .unwrap_or(&current[field])
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    match key {
        Key::Email(email) => {
            let field = email_of(entity);
            let is_key = |given: &str| {
                let (given, email) = (given.to_lowercase(), stripped(email).to_lowercase());
                stripped(&given) == email || given.ends_with(&format!("<{email}>"))
            };
            if different.contains_key(field) && !is_key(&after(field)) {
                return Err(rejected(field, NOT_THE_KEY));
            }
        }
        Key::Phone(phone) => {
            let changed = phones(metas).find(|field| different.contains_key(*field));
            if let Some(field) = changed
                && !phones(metas).any(|field| is_same_number(&after(field), phone))
            {
                return Err(rejected(field, NOT_THE_KEY));
            }
        }
        Key::Id(_) | Key::Reference(_) => {}
    }
    Ok(())
}

fn record(id: i64, row: &Value, metas: &Metas) -> Record {
    let fields = metas
        .iter()
        .map(|(name, meta)| (name.clone(), meta.decoded(&row[meta.there.as_str()])))
        .collect();
    Record {
        id: id.to_string(),
        fields,
        changed_at: time(&row["write_date"]).or_else(|| time(&row["create_date"])),
    }
}

#[async_trait]
impl Crm for Odoo {
    async fn describe(&self, entity: Entity) -> Result<Vec<Field>, Error> {
        let metas = self.metas(entity).await?;
        Ok(metas.iter().map(|(name, meta)| meta.field(name)).collect())
    }

    async fn find(&self, entity: Entity, key: &Key) -> Result<Vec<Record>, Error> {
        let setup = self.setup().await?;
        let metas = self.metas(entity).await?;
        let ids = self.ids(entity, key, Which::All, &metas, &setup).await?;
        self.records(entity, &ids, &metas, &setup).await
    }

    async fn upsert(&self, entity: Entity, key: &Key, fields: &Fields) -> Result<Upserted, Error> {
        let _alone = self.writing.lock().await;
        let setup = self.setup().await?;
        let metas = self.metas(entity).await?;
        if let Some((field, problem)) = keys::problem(key) {
            return Err(rejected(field, problem));
        }
        if !metas.may_be_set() {
            return Err(Error::Forbidden {
                system: SYSTEM,
                doing: format!("change {}", model_of(entity)),
                message: "it may only read all of its fields".to_owned(),
            });
        }
        self.put(entity, key, fields, &metas, &setup)
            .await
            .map_err(|error| match error {
                // A word that looked like a field's name, or the name that this version has for it.
                Error::Rejected {
                    system,
                    field: Some(field),
                    message,
                } if metas.get(&field).is_none() && !fields.contains_key(&field) => Error::Rejected {
                    system,
                    field: metas.name_here(&field).map(str::to_owned),
                    message,
                },
                other => other,
            })
    }

    async fn changes_since(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        self.changes(entity, cursor).await
    }
}
