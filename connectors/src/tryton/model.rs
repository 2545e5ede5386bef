//! The models that are contacts and leads, and their fields as Tryton describes them.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, SecondsFormat};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::rpc::Effect;
use super::{SYSTEM, Tryton, values};
use crate::error::Error;
use crate::records::{Entity, Field, FieldType};
use crate::time::monotonic;

/// The model of a party's ways to be reached.
pub(super) const MECHANISM: &str = "party.contact_mechanism";

/// The fields of a party that are its first contact mechanism of that type. Tryton computes them; we write them through the
/// mechanisms.
pub(super) const REACHED_BY: [&str; 5] = ["email", "phone", "mobile", "fax", "website"];

/// The model an entity is.
pub(super) const fn model_of(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "party.party",
        Entity::Lead => "sale.opportunity",
    }
}

/// The fields of a model, by name.
pub(super) type Metas = BTreeMap<String, Meta>;

/// What was learnt of the models, and when.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<BTreeMap<&'static str, (Instant, Arc<Metas>)>>);

/// For how long it is believed.
const FRESH: Duration = Duration::from_mins(5);

/// A field that can be read and told to others.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    label: String,
    /// Tryton's type.
    kind: String,
    required: bool,
    read_only: bool,
    choices: Option<Vec<String>>,
    relation: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Described {
    string: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: Value,
    #[serde(default)]
    readonly: Value,
    #[serde(default)]
    sortable: Value,
    #[serde(default)]
    selection: Value,
    #[serde(default)]
    relation: Option<String>,
}

/// The types that are one value and can be told.
const TOLD: [&str; 12] = [
    "char",
    "text",
    "fulltext",
    "integer",
    "bigint",
    "float",
    "numeric",
    "boolean",
    "date",
    "datetime",
    "timestamp",
    "selection",
];

impl Meta {
    /// As others are told of it.
    pub(super) fn field(&self, name: &str) -> Field {
        let takes = match (self.kind.as_str(), &self.choices) {
            ("char" | "text" | "fulltext", _) => FieldType::Text,
            ("integer" | "bigint" | "float" | "numeric", _) => FieldType::Number,
            ("boolean", _) => FieldType::Boolean,
            ("date", _) => FieldType::Date,
            ("datetime" | "timestamp", _) => FieldType::Time,
            ("selection", Some(choices)) => FieldType::Choice(choices.clone()),
            (kind, _) => FieldType::Other(match &self.relation {
                Some(relation) => format!("id of {relation}"),
                None => kind.to_owned(),
            }),
        };
        Field {
            name: name.to_owned(),
            label: self.label.clone(),
            takes,
            required: self.required,
            read_only: self.read_only,
        }
    }

    /// Whether it takes a text, and can be set.
    pub(super) fn is_text(&self) -> bool {
        !self.read_only && matches!(self.kind.as_str(), "char" | "text" | "fulltext")
    }

    /// A value as Tryton takes it. Nothing but what the field's type allows gets through: an object could become anything on
    /// the server.
    pub(super) fn encoded(&self, name: &str, value: &Value) -> Result<Value, Error> {
        let refused = |message: String| Error::Rejected {
            system: SYSTEM,
            field: Some(name.to_owned()),
            message,
        };
        let wants = |what: &str| refused(format!("it takes {what}"));
        if self.read_only {
            return Err(refused("it can only be read".to_owned()));
        }
        if value.is_null() {
            return Ok(Value::Null);
        }
        match self.kind.as_str() {
            "char" | "text" | "fulltext" | "selection" => {
                let text = value.as_str().ok_or_else(|| wants("a text"))?;
                if !values::is_storable(text) {
                    return Err(wants("a text without NUL characters"));
                }
                if let Some(choices) = &self.choices
                    && !choices.iter().any(|choice| choice == text)
                {
                    return Err(wants(&format!("one of {}", choices.join(", "))));
                }
                Ok(json!(text))
            }
            "boolean" => value.as_bool().map(Value::Bool).ok_or_else(|| wants("true or false")),
            "integer" | "bigint" => {
                let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                number
                    .map(|number| json!(number))
                    .ok_or_else(|| wants("a whole number"))
            }
            "many2one" => {
                let id = value.as_i64().or_else(|| values::record_id(value.as_str()?));
                id.map(|id| json!(id)).ok_or_else(|| wants("the id of a record"))
            }
            "float" => match told_decimal(value) {
                // As a number, which JSON has no other of.
                Some(decimal) => Ok(json!(decimal.to_string().parse::<f64>().unwrap_or_default())),
                None => Err(wants("a number")),
            },
            "numeric" => told_decimal(value)
                .map(values::encoded_decimal)
                .ok_or_else(|| wants("a number, or one as text")),
            "date" => {
                let day = value
                    .as_str()
                    .and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok());
                day.map(values::encoded_date)
                    .ok_or_else(|| wants("a day, as 2026-01-31"))
            }
            "datetime" | "timestamp" => {
                let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
                time.map(|time| values::encoded_time(time.to_utc()))
                    .ok_or_else(|| wants("a time, as 2026-01-31T12:00:00Z"))
            }
            _ => Err(wants("what cannot be sent")),
        }
    }

    /// A value from Tryton, as others are told: decimals as text, days and times as RFC 3339.
    pub(super) fn decoded(&self, value: &Value) -> Value {
        match self.kind.as_str() {
            // SQLite has no booleans.
            "boolean" => value
                .as_i64()
                .map_or_else(|| value.clone(), |number| json!(number != 0)),
            "numeric" => values::decimal(value).map_or(Value::Null, |decimal| json!(decimal.to_string())),
            "date" => values::date(value).map_or(Value::Null, |day| json!(day.to_string())),
            "datetime" | "timestamp" => values::time(value).map_or(Value::Null, |time| {
                json!(time.to_rfc3339_opts(SecondsFormat::Micros, true))
            }),
            _ => value.clone(),
        }
    }

    /// Whether an encoded value is what the record has already.
    pub(super) fn is_same(&self, encoded: &Value, current: &Value) -> bool {
        let text = |value: &Value| value.as_str().map(|text| values::stripped(text).to_owned());
        match self.kind.as_str() {
            "numeric" | "float" => values::decimal(encoded) == values::decimal(current),
            // Tryton takes empty texts for none.
            "char" | "text" | "fulltext" => text(encoded).unwrap_or_default() == text(current).unwrap_or_default(),
            _ => self.decoded(encoded) == self.decoded(current),
        }
    }
}

fn told_decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => Decimal::from_str(text).ok(),
        Value::Number(_) => values::decimal(value),
        _ => None,
    }
}

/// Python's idea of what is true.
fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_i64() == Some(1))
}

impl Tryton {
    /// The fields of an entity that are told: those of one value that are stored, and the ways to be reached.
    pub(super) async fn metas(&self, entity: Entity) -> Result<Arc<Metas>, Error> {
        let model = model_of(entity);
        let mut cached = self.models.0.lock().await;
        if let Some((at, metas)) = cached.get(model)
            && monotonic().saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(metas));
        }
        let metas = Arc::new(self.read_metas(entity).await?);
        cached.insert(model, (monotonic(), Arc::clone(&metas)));
        Ok(metas)
    }

    async fn read_metas(&self, entity: Entity) -> Result<Metas, Error> {
        let model = model_of(entity);
        let context = self.setup().await?.context();
        let described: BTreeMap<String, Described> = self
            .rpc
            .call(model, "fields_get", json!([[], context]), Effect::Reads)
            .await?;
        let required: Vec<&String> = described
            .iter()
            .filter(|(_, field)| is_true(&field.required))
            .map(|(name, _)| name)
            .collect();
        let defaults: BTreeMap<String, Value> = self
            .rpc
            .call(model, "default_get", json!([required, false, context]), Effect::Reads)
            .await?;
        let is_told = |name: &str, field: &Described| {
            let reached_by = entity == Entity::Contact && REACHED_BY.contains(&name);
            let stored = is_true(&field.sortable) && (TOLD.contains(&field.kind.as_str()) || field.kind == "many2one");
            name != "id" && (reached_by || stored)
        };
        let meta = |name: &str, field: Described| {
            let has_default = defaults.get(name).is_some_and(|value| !value.is_null());
            // A sequence fills in the code of a party and the number of an opportunity.
            let numbered = matches!(name, "code" | "number");
            let read_only = is_true(&field.readonly);
            let choices = field.selection.as_array().map(|choices| {
                let values = choices.iter().filter_map(|choice| choice[0].as_str());
                values.map(str::to_owned).collect()
            });
            Meta {
                label: field.string,
                kind: field.kind,
                required: is_true(&field.required) && !has_default && !numbered && !read_only,
                read_only,
                choices,
                relation: field.relation,
            }
        };
        Ok(described
            .into_iter()
            .filter(|(name, field)| is_told(name, field))
            .map(|(name, field)| {
                let meta = meta(&name, field);
                (name, meta)
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(kind: &str) -> Meta {
        Meta {
            label: kind.to_owned(),
            kind: kind.to_owned(),
            required: false,
            read_only: false,
            choices: None,
            relation: None,
        }
    }

    #[test]
    fn only_what_the_type_allows_is_sent() {
        let hostile = json!({"__class__": "Decimal", "decimal": "1"});
        for kind in [
            "char",
            "text",
            "selection",
            "boolean",
            "integer",
            "many2one",
            "float",
            "numeric",
            "date",
            "datetime",
            "one2many",
            "binary",
        ] {
            assert!(meta(kind).encoded("x", &hostile).is_err(), "{kind}");
            assert!(meta(kind).encoded("x", &json!([["delete", [1]]])).is_err(), "{kind}");
        }
        assert!(meta("char").encoded("x", &json!("a\0b")).is_err());
        assert!(meta("many2one").encoded("x", &json!("1 OR 1=1")).is_err());
        assert_eq!(
            meta("char").encoded("x", &json!("%_\\\"';")).unwrap(),
            json!("%_\\\"';")
        );
    }

    #[test]
    fn values_go_there_and_come_back() {
        for (kind, told) in [
            ("numeric", json!("12.50")),
            ("date", json!("2026-01-31")),
            ("datetime", json!("2026-01-31T12:00:00.000000Z")),
            ("boolean", json!(true)),
            ("integer", json!(5)),
            ("char", json!("Ana")),
            ("char", Value::Null),
        ] {
            let meta = meta(kind);
            let encoded = meta.encoded("x", &told).unwrap();
            assert_eq!(meta.decoded(&encoded), told, "{kind}");
            assert!(meta.is_same(&encoded, &encoded));
        }
        assert_eq!(meta("boolean").decoded(&json!(1)), json!(true));
        assert!(meta("numeric").is_same(
            &json!({"__class__": "Decimal", "decimal": "1.50"}),
            &json!({"__class__": "Decimal", "decimal": "1.5"})
        ));
        assert!(meta("char").is_same(&Value::Null, &json!("")));
    }
}
