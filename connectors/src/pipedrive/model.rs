//! The fields of persons, deals and leads: Pipedrive's own, which are known, and the account's, by the names people see.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::api::{Object, Row};
use super::{Pipedrive, rejected};
use crate::error::Error;
use crate::keys::is_same_number;
use crate::records::{Entity, Field, FieldType};
use crate::time::monotonic;

/// The fields of an entity, by the name that others are told.
pub(super) type Metas = BTreeMap<String, Meta>;

/// What was learnt of them, and when.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<BTreeMap<Entity, (Instant, Arc<Metas>)>>);

/// For how long it is believed.
const FRESH: Duration = Duration::from_mins(5);
/// The longest values, in characters.
const SHORT: usize = 255;
const LONG: usize = 65_000;

/// What a field takes.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A text of at most so many characters.
    Text(usize),
    Number,
    /// The number of another record.
    Id,
    Flag,
    Date,
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these labels, each with its id.
    Option(Vec<(String, Value)>),
    /// The first of a list: its key.
    FirstOf(&'static str),
    /// What is told, and cannot be set from here.
    Other(String),
}

/// A field.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    /// The key of its value.
    pub(super) key: String,
    label: String,
    kind: Kind,
    pub(super) is_custom: bool,
    required: bool,
    read_only: bool,
}

/// A field, as Pipedrive describes it.
#[derive(Debug, Deserialize)]
struct Described {
    field_code: String,
    #[serde(default)]
    field_name: String,
    #[serde(default)]
    field_type: String,
    #[serde(default)]
    is_custom_field: bool,
    #[serde(default)]
    options: Option<Vec<Choice>>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    id: Value,
    #[serde(default)]
    label: String,
}

/// When something happened; v1 has older fields without a time zone, in UTC.
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    let rfc = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    rfc.or_else(|| Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?.and_utc()))
}

fn decimal(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Decimal::from_str(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .ok()
}

/// A number as the API has it, a double, if that holds it exactly.
fn double(number: Decimal) -> Option<Value> {
    let double = json!(number.to_string().parse::<f64>().ok()?);
    (decimal(&double)? == number).then_some(double)
}

/// One value as text: what stands for a record, an amount or several.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(list) => {
            let texts: Vec<String> = list.iter().filter_map(plain).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
        Value::Object(parts) => {
            let parts = ["value", "currency", "until"]
                .iter()
                .filter_map(|key| plain(parts.get(*key)?));
            let texts: Vec<String> = parts.collect();
            (!texts.is_empty()).then(|| texts.join(" "))
        }
        Value::Null => None,
    }
}

impl Meta {
    /// As others are told of it.
    pub(super) fn field(&self, name: &str) -> Field {
        let takes = match &self.kind {
            Kind::Text(_) | Kind::FirstOf(_) => FieldType::Text,
            Kind::Number => FieldType::Number,
            Kind::Id => FieldType::Other("id of another record".to_owned()),
            Kind::Flag => FieldType::Boolean,
            Kind::Date => FieldType::Date,
            Kind::Time => FieldType::Time,
            Kind::Word(words) => FieldType::Choice(words.iter().map(|word| (*word).to_owned()).collect()),
            Kind::Option(options) => FieldType::Choice(options.iter().map(|(label, _)| label.clone()).collect()),
            Kind::Other(kind) => FieldType::Other(kind.clone()),
        };
        Field {
            name: name.to_owned(),
            label: self.label.clone(),
            takes,
            required: self.required,
            read_only: self.read_only,
        }
    }

    /// Whether it can hold our reference: a custom text, which searches know.
    pub(super) fn holds_references(&self) -> bool {
        self.is_custom && matches!(self.kind, Kind::Text(_))
    }

    /// The list whose first value it is.
    pub(super) const fn list(&self) -> Option<&'static str> {
        match self.kind {
            Kind::FirstOf(list) => Some(list),
            _ => None,
        }
    }

    /// A value as Pipedrive takes it; nothing but what the field's type allows.
    pub(super) fn encoded(&self, name: &str, value: &Value) -> Result<Value, Error> {
        let wants = |what: &str| rejected(name, format!("it takes {what}"));
        if self.read_only {
            return Err(rejected(name, "it can only be read, or not be set from here"));
        }
        if value.is_null() {
            return match self.kind {
                Kind::FirstOf(_) => Err(rejected(name, "it cannot be emptied from here; remove it in Pipedrive")),
                _ => Ok(Value::Null),
            };
        }
        let text = value.as_str();
        match &self.kind {
            Kind::Text(longest) => text
                .filter(|text| !text.contains('\0') && text.chars().count() <= *longest)
                .map(|text| json!(text))
                .ok_or_else(|| wants(&format!("a text of at most {longest} characters, without NUL"))),
            Kind::FirstOf(_) => text
                .map(str::trim)
                .filter(|text| !text.is_empty() && !text.contains('\0') && text.chars().count() <= SHORT)
                .map(|text| json!(text))
                .ok_or_else(|| wants("a text that is not empty, of at most 255 characters")),
            Kind::Number => decimal(value)
                .and_then(double)
                .ok_or_else(|| wants("a number of at most some 15 digits, or one as text")),
            Kind::Id => {
                let id = value.as_u64().or_else(|| text?.parse().ok());
                id.map(|id| json!(id)).ok_or_else(|| wants("the id of a record"))
            }
            Kind::Flag => value.as_bool().map(Value::Bool).ok_or_else(|| wants("true or false")),
            Kind::Date => text
                .and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
                .map(|day| json!(day.to_string()))
                .ok_or_else(|| wants("a day, as 2026-01-31")),
            Kind::Word(words) => text
                .filter(|text| words.contains(text))
                .map(|text| json!(text))
                .ok_or_else(|| wants(&format!("one of {}", words.join(", ")))),
            Kind::Option(options) => {
                let chosen = options.iter().find(|(label, _)| Some(label.as_str()) == text);
                chosen.map(|(_, id)| id.clone()).ok_or_else(|| {
                    let labels: Vec<&str> = options.iter().map(|(label, _)| label.as_str()).collect();
                    wants(&format!("one of {}", labels.join(", ")))
                })
            }
            Kind::Time | Kind::Other(_) => Err(wants("what cannot be sent")),
        }
    }

    /// Its value, as others are told: numbers as text, times as RFC 3339, options by their labels.
    pub(super) fn decoded(&self, row: &Row) -> Value {
        let value = row.values.get(&self.key).unwrap_or(&Value::Null);
        let told = match &self.kind {
            Kind::Number => decimal(value).map(|number| json!(number.normalize().to_string())),
            Kind::Flag => value.as_bool().map(Value::Bool),
            Kind::Time => time(value).map(|time| json!(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
            Kind::FirstOf(list) => first(row, list).map(|value| json!(value)),
            Kind::Option(options) => {
                let chosen = plain(value);
                let label = options
                    .iter()
                    .find(|(_, id)| plain(id) == chosen)
                    .map(|(label, _)| label);
                label.cloned().or(chosen).map(|label| json!(label))
            }
            Kind::Text(_) | Kind::Id | Kind::Date | Kind::Word(_) | Kind::Other(_) => {
                plain(value).map(|text| json!(text))
            }
        };
        told.unwrap_or_default()
    }

    /// Whether an encoded value is what the record has already.
    pub(super) fn is_same(&self, encoded: &Value, row: &Row) -> bool {
        let current = row.values.get(&self.key).unwrap_or(&Value::Null);
        match &self.kind {
            Kind::Number => decimal(encoded) == decimal(current),
            Kind::FirstOf(list) => {
                let wanted = encoded.as_str().unwrap_or_default();
                let is_it = |value: &&str| value.trim().eq_ignore_ascii_case(wanted) || is_same_number(value, wanted);
                row.listed(list).iter().any(is_it)
            }
            Kind::Flag => encoded.as_bool() == current.as_bool(),
            _ => plain(encoded).unwrap_or_default().trim() == plain(current).unwrap_or_default().trim(),
        }
    }
}

/// The primary value of a list, or its first.
fn first<'a>(row: &'a Row, list: &str) -> Option<&'a str> {
    let entries = row.values.get(list)?.as_array()?;
    let primary = entries.iter().find(|entry| entry["primary"] == true);
    primary.or_else(|| entries.first())?["value"].as_str()
}

/// Pipedrive's own fields: key, kind, whether a record needs it, whether it can only be read.
fn own(object: Object) -> Vec<(&'static str, Kind, bool, bool)> {
    let stamps = [
        ("add_time", Kind::Time, false, true),
        ("update_time", Kind::Time, false, true),
    ];
    let mut fields = match object {
        Object::Persons => vec![
            ("name", Kind::Text(SHORT), false, false),
            ("first_name", Kind::Text(SHORT), false, true),
            ("last_name", Kind::Text(SHORT), false, true),
            ("email", Kind::FirstOf("emails"), false, false),
            ("phone", Kind::FirstOf("phones"), false, false),
            ("owner_id", Kind::Id, false, false),
            ("org_id", Kind::Id, false, false),
        ],
        Object::Deals => vec![
            ("title", Kind::Text(SHORT), true, false),
            ("value", Kind::Number, false, false),
            ("currency", Kind::Text(3), false, false),
            ("person_id", Kind::Id, false, false),
            ("org_id", Kind::Id, false, false),
            ("owner_id", Kind::Id, false, false),
            ("pipeline_id", Kind::Id, false, false),
            ("stage_id", Kind::Id, false, false),
            ("status", Kind::Word(&["open", "won", "lost"]), false, false),
            ("lost_reason", Kind::Text(SHORT), false, false),
            ("expected_close_date", Kind::Date, false, false),
        ],
        Object::Leads => vec![
            ("title", Kind::Text(SHORT), true, false),
            ("value", Kind::Number, false, false),
            ("currency", Kind::Text(3), false, false),
            ("person_id", Kind::Id, false, false),
            ("organization_id", Kind::Id, false, false),
            ("owner_id", Kind::Id, false, false),
            ("expected_close_date", Kind::Date, false, false),
            ("is_archived", Kind::Flag, false, false),
        ],
    };
    fields.extend(stamps);
    fields
}

/// All fields: those of Pipedrive, and of the described ones the custom ones, by their names where these are of one field only.
fn metas_of(object: Object, described: Vec<Described>) -> Metas {
    let label = |key: &str| {
        let named = described
            .iter()
            .find(|field| field.field_code == key && !field.is_custom_field);
        named
            .map(|field| field.field_name.clone())
            .filter(|name| !name.is_empty())
    };
    let mut metas: Metas = own(object)
        .into_iter()
        .map(|(key, kind, required, read_only)| {
            let meta = Meta {
                key: key.to_owned(),
                label: label(key).unwrap_or_else(|| key.to_owned()),
                kind,
                is_custom: false,
                required,
                read_only,
            };
            (key.to_owned(), meta)
        })
        .collect();
    let custom: Vec<Described> = described.into_iter().filter(|field| field.is_custom_field).collect();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for field in &custom {
        *names.entry(field.field_name.trim().to_owned()).or_default() += 1;
    }
    for field in custom {
        let name = field.field_name.trim().to_owned();
        let is_its_own = names[&name] == 1 && !name.is_empty() && !metas.contains_key(&name);
        let options = field.options.unwrap_or_default();
        let kind = match field.field_type.as_str() {
            "varchar" | "varchar_auto" | "phone" => Kind::Text(SHORT),
            "text" => Kind::Text(LONG),
            "double" => Kind::Number,
            "date" => Kind::Date,
            "user" | "org" | "people" => Kind::Id,
            "enum" => Kind::Option(options.into_iter().map(|choice| (choice.label, choice.id)).collect()),
            kind => Kind::Other(kind.to_owned()),
        };
        let meta = Meta {
            label: if name.is_empty() {
                field.field_code.clone()
            } else {
                name.clone()
            },
            read_only: matches!(kind, Kind::Other(_)),
            kind,
            is_custom: true,
            required: false,
            key: field.field_code.clone(),
        };
        metas.insert(if is_its_own { name } else { field.field_code }, meta);
    }
    metas
}

impl Pipedrive {
    /// What an entity is in this account.
    pub(super) const fn object(&self, entity: Entity) -> Object {
        Object::of(entity, self.config.leads_are)
    }

    /// The fields of an entity.
    pub(super) async fn metas(&self, entity: Entity) -> Result<Arc<Metas>, Error> {
        let mut cached = self.models.0.lock().await;
        if let Some((at, metas)) = cached.get(&entity)
            && monotonic().saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(metas));
        }
        let object = self.object(entity);
        let fields = self.api.fields(object).await?;
        let described = fields
            .into_iter()
            .filter_map(|field| serde_json::from_value(field).ok());
        let metas = Arc::new(metas_of(object, described.collect()));
        cached.insert(entity, (monotonic(), Arc::clone(&metas)));
        Ok(metas)
    }

    /// Forgets what was learnt of the fields.
    pub(super) async fn forget_metas(&self) {
        self.models.0.lock().await.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(code: &str, name: &str, kind: &str) -> Value {
        json!({"field_code": code, "field_name": name, "field_type": kind, "is_custom_field": code.len() > 30,
            "options": [{"id": 11, "label": "Hot"}, {"id": 12, "label": "Cold"}]})
    }

    fn metas(fields: &[(&str, &str, &str)]) -> Metas {
        let fields = fields.iter().map(|(code, name, kind)| described(code, name, kind));
        metas_of(
            Object::Persons,
            fields.map(|field| serde_json::from_value(field).unwrap()).collect(),
        )
    }

    fn key(number: usize) -> String {
        format!("{number:040}")
    }

    #[test]
    fn custom_fields_go_by_their_names_unless_two_have_one() {
        let keys: Vec<String> = (0..5).map(key).collect();
        let metas = metas(&[
            ("name", "Name", "varchar"),
            (&keys[0], "Ref", "varchar"),
            (&keys[1], "Twice", "varchar"),
            (&keys[2], "Twice", "double"),
            (&keys[3], "name", "varchar"),
            (&keys[4], "Budget", "monetary"),
        ]);
        assert_eq!(metas["Ref"].key, keys[0]);
        assert!(!metas.contains_key("Twice"));
        for key in &keys[1..4] {
            assert_eq!(metas[key].key, *key);
        }
        assert_eq!((metas["name"].label.as_str(), metas["name"].is_custom), ("Name", false));
        assert!(metas["Budget"].field("Budget").read_only);
        assert!(metas["Ref"].holds_references() && !metas[&keys[2]].holds_references());
    }

    #[test]
    fn only_what_the_type_allows_is_sent_and_it_comes_back() {
        for (kind, told, sent) in [
            ("varchar", json!("%_\\\"';"), json!("%_\\\"';")),
            ("double", json!("12.5"), json!(12.5)),
            ("date", json!("2026-01-31"), json!("2026-01-31")),
            ("enum", json!("Cold"), json!(12)),
            ("people", json!("7"), json!(7)),
        ] {
            let code = key(1);
            let meta = &metas(&[(&code, "X", kind)])["X"];
            for value in [json!({"$ne": null}), json!([1]), json!(true), json!("a\0b")] {
                assert!(meta.encoded("X", &value).is_err(), "{kind}: {value}");
            }
            assert_eq!(meta.encoded("X", &told).unwrap(), sent, "{kind}");
            let values = json!({ code: sent.clone() }).as_object().unwrap().clone();
            let row = Row {
                id: "1".to_owned(),
                values,
            };
            assert_eq!(meta.decoded(&row), told, "{kind}");
            assert!(meta.is_same(&sent, &row), "{kind}");
        }
        assert_eq!(double(Decimal::from_str("0.1").unwrap()), Some(json!(0.1)));
        assert_eq!(
            double(Decimal::from_str("12345678901234567.89").unwrap()),
            None,
            "it would be another"
        );
    }
}
