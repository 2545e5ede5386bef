//! The properties of contacts and deals, as HubSpot describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Hubspot, object_of, rejected};
use crate::error::Error;
use crate::keys::is_same_number;
use crate::records::{Entity, Field, FieldType};
use crate::time::monotonic;

/// The properties of a type of object, by name.
pub(super) type Metas = BTreeMap<String, Meta>;

/// What was learnt of them, and when.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<BTreeMap<Entity, (Instant, Arc<Metas>)>>);

/// For how long it is believed.
const FRESH: Duration = Duration::from_mins(5);
/// The longest value, in characters.
const LONGEST: usize = 65_536;

/// A property.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent answers to independent questions"
)]
pub(super) struct Meta {
    name: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    field_type: String,
    #[serde(default)]
    options: Vec<Choice>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    calculated: bool,
    #[serde(default)]
    has_unique_value: bool,
    #[serde(default)]
    modification_metadata: Option<Modification>,
    /// Whether a record cannot be created without it.
    #[serde(skip)]
    required: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Choice {
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modification {
    #[serde(default)]
    read_only_value: bool,
}

#[derive(Debug, Deserialize)]
struct Described {
    results: Vec<Meta>,
}

/// When a property says something happened; in either of the ways HubSpot writes times.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    match text.parse::<i64>() {
        Ok(milliseconds) => DateTime::from_timestamp_millis(milliseconds),
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()),
    }
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Meta {
    fn is_read_only(&self) -> bool {
        let marked = self.modification_metadata.as_ref().is_some_and(|it| it.read_only_value);
        let is_known = matches!(
            self.kind.as_str(),
            "string" | "phone_number" | "number" | "bool" | "enumeration" | "date" | "datetime"
        );
        marked || self.calculated || !is_known
    }

    fn is_phone(&self) -> bool {
        self.kind == "phone_number" || self.field_type == "phonenumber"
    }

    fn choices(&self) -> Vec<String> {
        self.options.iter().map(|choice| choice.value.clone()).collect()
    }

    fn takes(&self) -> FieldType {
        let several = self.field_type == "checkbox";
        match self.kind.as_str() {
            "string" | "phone_number" => FieldType::Text,
            "number" => FieldType::Number,
            "bool" => FieldType::Boolean,
            "date" => FieldType::Date,
            "datetime" => FieldType::Time,
            "enumeration" if self.field_type == "booleancheckbox" => FieldType::Boolean,
            "enumeration" if several => {
                FieldType::Other(format!("some of {}, joined by semicolons", self.choices().join(", ")))
            }
            "enumeration" if !self.options.is_empty() => FieldType::Choice(self.choices()),
            // Owners and the like have their options elsewhere.
            "enumeration" => FieldType::Other("id".to_owned()),
            kind => FieldType::Other(kind.to_owned()),
        }
    }

    /// As others are told of it.
    pub(super) fn field(&self) -> Field {
        let label = if self.label.is_empty() { &self.name } else { &self.label };
        Field {
            name: self.name.clone(),
            label: label.clone(),
            takes: self.takes(),
            required: self.required,
            read_only: self.is_read_only(),
        }
    }

    /// Whether it can hold our reference: a text that we may set, and that HubSpot keeps unique.
    pub(super) fn holds_references(&self) -> Result<(), &'static str> {
        if self.kind != "string" || self.is_read_only() {
            return Err("it is not a text that can be set");
        }
        if !self.has_unique_value {
            return Err(
                "its values are not unique; create another with \"Require unique values for this property\", which cannot be set \
                 later",
            );
        }
        Ok(())
    }

    /// A value as HubSpot takes it; nothing but what the property's type allows.
    pub(super) fn encoded(&self, value: &Value) -> Result<String, Error> {
        let wants = |what: &str| rejected(self.name.clone(), format!("it takes {what}"));
        if self.is_read_only() {
            return Err(rejected(self.name.clone(), "it can only be read"));
        }
        if value.is_null() {
            return Ok(String::new());
        }
        let text = value.as_str();
        match self.takes() {
            FieldType::Text => text
                .filter(|text| !text.contains('\0') && text.chars().count() <= LONGEST)
                .map(str::to_owned)
                .ok_or_else(|| wants("a text of at most 65,536 characters, without NUL")),
            FieldType::Number => {
                let number = match value {
                    Value::String(text) => Decimal::from_str(text).ok(),
                    Value::Number(number) => {
                        let text = number.to_string();
                        Decimal::from_str(&text)
                            .or_else(|_| Decimal::from_scientific(&text))
                            .ok()
                    }
                    _ => None,
                };
                number
                    .map(|number| number.to_string())
                    .ok_or_else(|| wants("a number, or one as text"))
            }
            FieldType::Boolean => value
                .as_bool()
                .map(|flag| flag.to_string())
                .ok_or_else(|| wants("true or false")),
            FieldType::Date => text
                .and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
                .map(|day| day.to_string())
                .ok_or_else(|| wants("a day, as 2026-01-31")),
            FieldType::Time => text
                .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
                .map(|time| written(time.to_utc()))
                .ok_or_else(|| wants("a time, as 2026-01-31T12:00:00Z")),
            FieldType::Choice(choices) => text
                .filter(|text| choices.iter().any(|choice| choice == text))
                .map(str::to_owned)
                .ok_or_else(|| wants(&format!("one of {}", choices.join(", ")))),
            FieldType::Other(what) if self.options.is_empty() => text
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
                .map(str::to_owned)
                .ok_or_else(|| wants(&what)),
            FieldType::Other(what) => text
                .filter(|text| {
                    let is_choice = |part: &str| self.options.iter().any(|choice| choice.value == part);
                    text.is_empty() || text.split(';').all(is_choice)
                })
                .map(str::to_owned)
                .ok_or_else(|| wants(&what)),
        }
    }

    /// A value from HubSpot, as others are told: numbers as text, times as RFC 3339; an empty one is none.
    pub(super) fn decoded(&self, value: Option<&Value>) -> Value {
        let text = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => flag.to_string(),
            _ => return Value::Null,
        };
        if text.is_empty() {
            return Value::Null;
        }
        match self.takes() {
            FieldType::Boolean => text.parse::<bool>().map_or(Value::Null, Value::Bool),
            FieldType::Time => json!(time(&text).map_or(text, written)),
            _ => json!(text),
        }
    }

    /// Whether an encoded value is what the record has already. HubSpot writes telephone numbers and addresses its own way.
    pub(super) fn is_same(&self, encoded: &str, current: Option<&Value>) -> bool {
        let told = self.decoded(Some(&json!(encoded)));
        let current = self.decoded(current);
        let (Some(one), Some(other)) = (told.as_str(), current.as_str()) else {
            return told == current || (encoded.trim().is_empty() && current.is_null());
        };
        match self.takes() {
            FieldType::Number => Decimal::from_str(one).ok() == Decimal::from_str(other).ok(),
            FieldType::Other(_) => one.split(';').collect::<BTreeSet<_>>() == other.split(';').collect(),
            _ if self.is_phone() => one.trim() == other.trim() || is_same_number(one, other),
            _ if self.name == "email" => one.trim().eq_ignore_ascii_case(other.trim()),
            _ => one.trim() == other.trim(),
        }
    }
}

impl Hubspot {
    /// The properties of an entity that are told: those that are not hidden, and the one that holds our reference.
    pub(super) async fn metas(&self, entity: Entity) -> Result<Arc<Metas>, Error> {
        let mut cached = self.models.0.lock().await;
        if let Some((at, metas)) = cached.get(&entity)
            && monotonic().saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(metas));
        }
        let metas = Arc::new(self.read_metas(entity).await?);
        cached.insert(entity, (monotonic(), Arc::clone(&metas)));
        Ok(metas)
    }

    /// Forgets what was learnt of the properties.
    pub(super) async fn forget_metas(&self) {
        self.models.0.lock().await.clear();
    }

    async fn read_metas(&self, entity: Entity) -> Result<Metas, Error> {
        let object = object_of(entity);
        let described: Described = self
            .api
            .get(
                &format!("read the properties of {object}"),
                &["crm", "v3", "properties", object],
                "a list of properties",
            )
            .await?;
        let reference = self.reference_name(entity);
        let is_told = |meta: &Meta| !meta.archived && (!meta.hidden || Some(meta.name.as_str()) == reference);
        let is_required = |name: &str| match (entity, name) {
            (Entity::Lead, "dealname") => true,
            (Entity::Lead, "dealstage") => self.config.deal_stage.is_none(),
            _ => false,
        };
        Ok(described
            .results
            .into_iter()
            .filter(is_told)
            .map(|mut meta| {
                meta.required = is_required(&meta.name);
                (meta.name.clone(), meta)
            })
            .collect())
    }

    /// The property that holds our reference, if one is configured.
    pub(super) fn reference_name(&self, entity: Entity) -> Option<&str> {
        match entity {
            Entity::Contact => self.config.contact_reference.as_deref(),
            Entity::Lead => self.config.lead_reference.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(kind: &str, field_type: &str, options: &[&str]) -> Meta {
        let options: Vec<Value> = options.iter().map(|option| json!({"value": option})).collect();
        serde_json::from_value(
            json!({"name": "x", "label": "X", "type": kind, "fieldType": field_type, "options": options}),
        )
        .unwrap()
    }

    #[test]
    fn only_what_the_type_allows_is_sent() {
        for meta in [
            meta("string", "text", &[]),
            meta("number", "number", &[]),
            meta("bool", "booleancheckbox", &[]),
            meta("enumeration", "select", &["a"]),
            meta("enumeration", "checkbox", &["a", "b"]),
            meta("enumeration", "select", &[]),
            meta("date", "date", &[]),
            meta("datetime", "date", &[]),
            meta("json", "text", &[]),
        ] {
            for value in [json!({"$ne": null}), json!([1]), json!(["a"])] {
                assert!(meta.encoded(&value).is_err(), "{meta:?}: {value}");
            }
        }
        assert!(meta("string", "text", &[]).encoded(&json!("a\0b")).is_err());
        assert!(meta("enumeration", "select", &["a"]).encoded(&json!("b")).is_err());
        assert!(
            meta("enumeration", "checkbox", &["a", "b"])
                .encoded(&json!("a;c"))
                .is_err()
        );
        assert!(meta("enumeration", "select", &[]).encoded(&json!("1 OR 1=1")).is_err());
        assert_eq!(
            meta("string", "text", &[]).encoded(&json!("%_\\\"';")).unwrap(),
            "%_\\\"';"
        );
    }

    #[test]
    fn values_go_there_and_come_back() {
        for (meta, told) in [
            (meta("string", "text", &[]), json!("Ana")),
            (meta("number", "number", &[]), json!("12345678901234567.89")),
            (meta("bool", "booleancheckbox", &[]), json!(true)),
            (meta("enumeration", "booleancheckbox", &["true", "false"]), json!(false)),
            (meta("enumeration", "select", &["a"]), json!("a")),
            (meta("enumeration", "checkbox", &["a", "b"]), json!("a;b")),
            (meta("date", "date", &[]), json!("2026-01-31")),
            (meta("datetime", "date", &[]), json!("2026-01-31T12:00:00.000Z")),
            (meta("string", "text", &[]), Value::Null),
        ] {
            let encoded = meta.encoded(&told).unwrap();
            assert_eq!(meta.decoded(Some(&json!(encoded))), told, "{meta:?}");
            assert!(meta.is_same(&encoded, Some(&json!(encoded))));
        }
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        assert!(meta("number", "number", &[]).is_same("1.50", Some(&json!("1.5"))));
        assert!(meta("enumeration", "checkbox", &["a", "b"]).is_same("b;a", Some(&json!("a;b"))));
        assert!(meta("datetime", "date", &[]).is_same("2026-01-31T12:00:00.000Z", Some(&json!("1769860800000"))));
        let phone = meta("string", "phonenumber", &[]);
        assert!(phone.is_same("+40722123456", Some(&json!("+40 722 123 456"))));
        assert!(!phone.is_same("0722", Some(&json!("0723"))));
        assert!(meta("string", "text", &[]).is_same("", Some(&Value::Null)));
        assert!(!meta("string", "text", &[]).is_same("x", None));
    }
}
