//! The records of a CRM, as the configuration describes them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use jmespath::{Rcvar, Variable};
use serde_json::Value;

use super::config::{EntityConfig, FieldConfig, OperationConfig, Takes};
use super::operation::{Common, Kind, Operation};
use super::query::{self, Query};
use super::{SYSTEM, refused};
use crate::error::Error;
use crate::keys;
use crate::lenient::decimal_of;
use crate::records::{Entity, Field, FieldType, Fields, Key, Record};
use crate::sql::time_of;

#[derive(Debug)]
pub(super) struct Records {
    pub(super) key: String,
    pub(super) entity: Entity,
    pub(super) fields: BTreeMap<String, FieldSpec>,
    id: Query,
    changed_at: Option<Query>,
    email_field: Option<String>,
    phone_field: Option<String>,
    reference_field: Option<String>,
    find_by_id: Option<Operation>,
    find_by_email: Option<Operation>,
    find_by_phone: Option<Operation>,
    find_by_reference: Option<Operation>,
    pub(super) create: Option<Operation>,
    pub(super) update: Option<Operation>,
    pub(super) changes: Option<Operation>,
}

#[derive(Debug)]
pub(super) struct FieldSpec {
    label: String,
    takes: FieldType,
    required: bool,
    read_only: bool,
    path: Query,
}

impl FieldSpec {
    fn compile(key: &str, name: &str, config: &FieldConfig) -> Result<Self, Error> {
        let takes = match (&config.choices, config.takes) {
            (Some(choices), None) => FieldType::Choice(choices.clone()),
            (Some(_), Some(_)) => return Err(refused(&format!("{key}.choices"), "there is takes too; leave one out")),
            (None, takes) => match takes.unwrap_or(Takes::Text) {
                Takes::Text => FieldType::Text,
                Takes::Number => FieldType::Number,
                Takes::Boolean => FieldType::Boolean,
                Takes::Date => FieldType::Date,
                Takes::Time => FieldType::Time,
            },
        };
        // As JMESPath quotes names.
        let own = Value::from(name).to_string();
        Ok(Self {
            label: config.label.clone().unwrap_or_else(|| name.to_owned()),
            takes,
            required: config.required.unwrap_or_default(),
            read_only: config.read_only.unwrap_or_default(),
            path: Query::compile(&format!("{key}.path"), config.path.as_deref().unwrap_or(&own))?,
        })
    }

    /// What is wrong with a value for this field.
    fn problem(&self, value: &Value) -> Option<&'static str> {
        let text = value.as_str();
        let fits = match &self.takes {
            _ if value.is_null() => return self.required.then_some("it cannot be emptied"),
            FieldType::Text | FieldType::Other(_) => (text.is_some(), "it takes a text"),
            FieldType::Number => {
                let number = match value {
                    Value::Number(number) => decimal_of(&number.to_string()),
                    Value::String(text) => decimal_of(text),
                    _ => None,
                };
                (number.is_some(), "it takes a number")
            }
            FieldType::Boolean => (value.is_boolean(), "it takes true or false"),
            FieldType::Date => {
                let is_day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
                (text.is_some_and(is_day), "it takes a day, such as 2026-01-19")
            }
            FieldType::Time => (
                text.and_then(time_of).is_some(),
                "it takes a time, such as 2026-01-19T10:00:00Z",
            ),
            FieldType::Choice(choices) => (
                text.is_some_and(|text| choices.iter().any(|choice| choice == text)),
                "it takes one of the choices in the configuration",
            ),
        };
        (!fits.0).then_some(fits.1)
    }

    /// Whether a record that has one value need not be given the other.
    fn is_same(&self, one: &Value, other: &Value) -> bool {
        let is_empty = |value: &Value| value.is_null() || value.as_str() == Some("");
        let number = |value: &Value| match value {
            Value::Number(number) => decimal_of(&number.to_string()),
            Value::String(text) => decimal_of(text),
            _ => None,
        };
        let time = |value: &Value| value.as_str().and_then(time_of);
        one == other
            || is_empty(one) && is_empty(other)
            || match self.takes {
                FieldType::Number => number(one).is_some() && number(one) == number(other),
                FieldType::Time => time(one).is_some() && time(one) == time(other),
                _ => false,
            }
    }
}

impl Records {
    /// Reads the entity found at `key`.
    pub(super) fn compile(
        key: &str,
        entity: Entity,
        config: &EntityConfig,
        common: &Common<'_>,
    ) -> Result<Self, Error> {
        let at = |name: &str| format!("{key}.{name}");
        let mut fields = BTreeMap::new();
        for (name, field) in &config.fields {
            fields.insert(
                name.clone(),
                FieldSpec::compile(&at(&format!("fields.{name}")), name, field)?,
            );
        }
        if fields.is_empty() {
            return Err(refused(&at("fields"), "there is none: name the fields of a record"));
        }
        for (name, field, find) in [
            ("email_field", &config.email_field, &config.find_by_email),
            ("phone_field", &config.phone_field, &config.find_by_phone),
            ("reference_field", &config.reference_field, &config.find_by_reference),
        ] {
            match field {
                Some(field) if !fields.contains_key(field) => {
                    return Err(refused(&at(name), format!("there is no field {field:?} in fields")));
                }
                None if find.is_some() => {
                    let message = "it is missing: what is found is compared with it";
                    return Err(refused(&at(name), message));
                }
                _ => {}
            }
        }
        if config.changes.is_some() && config.changed_at.is_none() {
            return Err(refused(&at("changed_at"), "it is missing, and needed by changes"));
        }
        let id_source = config.id.as_deref().unwrap_or("id");
        let operation = |name: &str, kind: Kind, of: Option<&OperationConfig>| {
            of.map(|of| {
                let mut of = of.clone();
                if kind == Kind::Create {
                    of.columns
                        .entry("id".to_owned())
                        .or_insert_with(|| id_source.to_owned());
                }
                Operation::compile(&at(name), kind, &of, common)
            })
            .transpose()
        };
        Ok(Self {
            key: key.to_owned(),
            entity,
            id: Query::compile(&at("id"), id_source)?,
            changed_at: config
                .changed_at
                .as_ref()
                .map(|source| Query::compile(&at("changed_at"), source))
                .transpose()?,
            email_field: config.email_field.clone(),
            phone_field: config.phone_field.clone(),
            reference_field: config.reference_field.clone(),
            find_by_id: operation("find_by_id", Kind::Find, config.find_by_id.as_ref())?,
            find_by_email: operation("find_by_email", Kind::Find, config.find_by_email.as_ref())?,
            find_by_phone: operation("find_by_phone", Kind::Find, config.find_by_phone.as_ref())?,
            find_by_reference: operation("find_by_reference", Kind::Find, config.find_by_reference.as_ref())?,
            create: operation("create", Kind::Create, config.create.as_ref())?,
            update: operation("update", Kind::Update, config.update.as_ref())?,
            changes: operation("changes", Kind::Changes, config.changes.as_ref())?,
            fields,
        })
    }

    pub(super) const fn tells_changes(&self) -> bool {
        self.changes.is_some()
    }

    /// The operation that finds a key, the field that holds it, and the key itself.
    pub(super) fn find<'a>(&'a self, key: &'a Key) -> (Option<&'a Operation>, Option<&'a String>, &'a str) {
        match key {
            Key::Id(id) => (self.find_by_id.as_ref(), None, id),
            Key::Email(email) => (self.find_by_email.as_ref(), self.email_field.as_ref(), email),
            Key::Phone(phone) => (self.find_by_phone.as_ref(), self.phone_field.as_ref(), phone),
            Key::Reference(reference) => (
                self.find_by_reference.as_ref(),
                self.reference_field.as_ref(),
                reference,
            ),
        }
    }

    /// An operation that finds records, for a check, and a key that nobody has.
    pub(super) fn probe(&self) -> Option<(&Operation, &'static str)> {
        // Nobody ever is at example.invalid (RFC 2606), and no country has this code.
        [
            (&self.find_by_email, "allai-sync-check@example.invalid"),
            (&self.find_by_phone, "+9990000000"),
            (&self.find_by_reference, "allai-sync-check"),
        ]
        .into_iter()
        .find_map(|(find, key)| Some((find.as_ref()?, key)))
    }

    /// Whether a record has a key: systems may find what is only similar.
    pub(super) fn has(&self, record: &Record, key: &Key) -> bool {
        let (_, field, wanted) = self.find(key);
        let value = field.and_then(|field| record.fields.get(field)).and_then(Value::as_str);
        match key {
            Key::Id(id) => record.id == *id,
            Key::Email(_) => value.is_some_and(|value| value.trim().to_lowercase() == wanted.trim().to_lowercase()),
            Key::Phone(_) => value.is_some_and(|value| keys::is_same_number(value, wanted)),
            Key::Reference(_) => value == Some(wanted),
        }
    }

    /// Reads a record.
    pub(super) fn record(&self, found: &Rcvar) -> Result<Record, Error> {
        let id = query::text(&*self.id.find(found)?).ok_or_else(|| Error::Unreadable {
            system: SYSTEM,
            expected: "a record",
            problem: format!("{} finds no id", self.id.key()),
        })?;
        let mut fields = Fields::new();
        for (name, spec) in &self.fields {
            fields.insert(name.clone(), json(&*spec.path.find(found)?));
        }
        let changed_at = match &self.changed_at {
            Some(changed_at) => query::time(&*changed_at.find(found)?),
            None => None,
        };
        Ok(Record { id, fields, changed_at })
    }

    pub(super) fn describe(&self) -> Vec<Field> {
        self.fields
            .iter()
            .map(|(name, spec)| Field {
                name: name.clone(),
                label: spec.label.clone(),
                takes: spec.takes.clone(),
                required: spec.required,
                read_only: spec.read_only,
            })
            .collect()
    }

    /// Whether fields can be set to these values.
    pub(super) fn check_fields(&self, fields: &Fields) -> Result<(), Error> {
        for (name, value) in fields {
            let spec = self.fields.get(name).filter(|spec| !spec.read_only);
            let spec = spec.ok_or_else(|| refused(name, "there is no such field that can be set"))?;
            if let Some(problem) = spec.problem(value) {
                return Err(refused(name, problem));
            }
        }
        Ok(())
    }

    /// The fields of a record to create: with the key among them, without which it would not be found again.
    pub(super) fn created(&self, key: &Key, fields: &Fields) -> Result<Fields, Error> {
        let (_, field, value) = self.find(key);
        let mut fields = fields.clone();
        if let Some(field) = field {
            let kept = fields.entry(field.clone()).or_insert_with(|| Value::from(value));
            if kept.as_str() != Some(value) {
                let probe = Record {
                    id: String::new(),
                    fields: Fields::from([(field.clone(), kept.clone())]),
                    changed_at: None,
                };
                if !self.has(&probe, key) {
                    return Err(refused(
                        field,
                        "it is not the key by which the record would be found again",
                    ));
                }
            }
        }
        let missing = self
            .fields
            .iter()
            .find(|(name, spec)| spec.required && !fields.contains_key(*name));
        match missing {
            Some((name, _)) => Err(refused(name, "a record cannot be created without it")),
            None => Ok(fields),
        }
    }

    /// Of the given fields, those in which a record differs.
    pub(super) fn different(&self, record: &Record, fields: &Fields) -> Fields {
        fields
            .iter()
            .filter(|(name, value)| {
                let current = record.fields.get(*name).unwrap_or(&Value::Null);
                self.fields.get(*name).is_none_or(|spec| !spec.is_same(value, current))
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn json(found: &Variable) -> Value {
    serde_json::to_value(found).unwrap_or(Value::Null)
}

/// Refuses keys under which nothing could be found again.
pub(super) fn check_key(key: &Key) -> Result<(), Error> {
    if let Key::Id(id) = key
        && (id.trim().is_empty() || id.len() > keys::LONGEST || id.contains('\0'))
    {
        return Err(refused("id", "the key is empty, too long, or holds NUL characters"));
    }
    keys::problem(key).map_or(Ok(()), |(field, problem)| Err(refused(field, problem)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(config: serde_json::Value) -> FieldSpec {
        let config: FieldConfig = serde_json::from_value(config).unwrap();
        FieldSpec::compile("contacts.fields.x", "x", &config).unwrap()
    }

    #[test]
    fn a_field_takes_what_it_takes() {
        for (config, good, wrong) in [
            (json!({}), json!("a"), json!(5)),
            (json!({"takes": "number"}), json!("12.50"), json!("12,50")),
            (json!({"takes": "number"}), json!(12.5), json!(true)),
            (json!({"takes": "boolean"}), json!(true), json!("true")),
            (json!({"takes": "date"}), json!("2026-01-19"), json!("19.01.2026")),
            (json!({"takes": "time"}), json!("2026-01-19T10:00:00Z"), json!("soon")),
            (json!({"choices": ["a", "b"]}), json!("b"), json!("c")),
            (json!({"required": true}), json!("a"), json!(null)),
        ] {
            assert_eq!(spec(config.clone()).problem(&good), None, "{config}");
            assert!(spec(config.clone()).problem(&wrong).is_some(), "{config}");
        }
    }

    #[test]
    fn what_is_written_otherwise_may_be_the_same() {
        let number = spec(json!({"takes": "number"}));
        assert!(number.is_same(&json!("12.50"), &json!(12.5)));
        assert!(!number.is_same(&json!("12.51"), &json!(12.5)));
        let time = spec(json!({"takes": "time"}));
        assert!(time.is_same(&json!("2026-01-19T10:00:00Z"), &json!("2026-01-19T12:00:00+02:00")));
        assert!(spec(json!({})).is_same(&json!(""), &json!(null)));
        assert!(!spec(json!({})).is_same(&json!("12.50"), &json!("12.5")));
    }
}
