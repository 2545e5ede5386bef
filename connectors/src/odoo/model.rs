//! The models that are contacts and leads, and their fields as Odoo describes them.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::rpc::Call;
use super::setup::Setup;
use super::{Odoo, SYSTEM, values};
use crate::error::Error;
use crate::keys::is_same_number;
use crate::records::{Entity, Field, FieldType};
use crate::time::monotonic;

/// The model an entity is.
pub(super) const fn model_of(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "res.partner",
        Entity::Lead => "crm.lead",
    }
}

/// Fields that have another name in old versions: the name now, the one before. Which of them there is, `fields_get` says.
const RENAMED: [(&str, &str, &str); 2] = [
    ("crm.lead", "expected_revenue", "planned_revenue"),
    ("crm.lead", "lost_reason_id", "lost_reason"),
];

/// The fields that hold a telephone number, as far as a version has them. The last one is Odoo's own reading of the others.
pub(super) const PHONES: [&str; 3] = ["phone", "mobile", "phone_sanitized"];

/// The field for an e-mail address.
pub(super) const fn email_of(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "email",
        Entity::Lead => "email_from",
    }
}

/// The fields of a model, by the name that they have here.
#[derive(Debug, Default)]
pub(super) struct Metas {
    by_name: BTreeMap<String, Meta>,
    renamed: BTreeMap<&'static str, &'static str>,
}

/// What was learnt of the models, and when.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<BTreeMap<&'static str, (Instant, Arc<Metas>)>>);

/// For how long it is believed.
const FRESH: Duration = Duration::from_mins(5);

/// A field that can be read and told to others.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    /// The name that this version has for it.
    pub(super) there: String,
    label: String,
    kind: Kind,
    required: bool,
    read_only: bool,
    choices: Option<Vec<String>>,
    relation: Option<String>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Phone,
    Html,
    Selection,
    Boolean,
    Integer,
    Decimal,
    Date,
    Time,
    Related,
    /// The name of a related record, which comes with its id.
    RelatedName,
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
    store: Value,
    #[serde(default)]
    selection: Value,
    #[serde(default)]
    relation: Value,
}

impl Described {
    /// What it holds, if that is one value that can be told.
    fn holds(&self, name: &str) -> Option<Kind> {
        Some(match self.kind.as_str() {
            "char" if PHONES.contains(&name) => Kind::Phone,
            "char" | "text" => Kind::Text,
            "html" => Kind::Html,
            "selection" => Kind::Selection,
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "float" | "monetary" => Kind::Decimal,
            "date" => Kind::Date,
            "datetime" => Kind::Time,
            "many2one" => Kind::Related,
            _ => return None,
        })
    }
}

impl Metas {
    /// The field of this name, also if it is an old one.
    pub(super) fn get(&self, name: &str) -> Option<&Meta> {
        let name = self.renamed.get(name).copied().unwrap_or(name);
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Meta)> {
        self.by_name.iter()
    }

    /// Whether the user may set any: to one who may not write, Odoo describes all as read only.
    pub(super) fn may_be_set(&self) -> bool {
        self.by_name.values().any(|meta| !meta.read_only)
    }

    /// The names that this version has for all of them, each once.
    pub(super) fn names_there(&self) -> Vec<&str> {
        let names = self.by_name.values().filter(|meta| meta.kind != Kind::RelatedName);
        names.map(|meta| meta.there.as_str()).collect()
    }

    /// The name here of a field of this version's.
    pub(super) fn name_here(&self, there: &str) -> Option<&str> {
        let found = self.by_name.iter().find(|(_, meta)| meta.there == there);
        found.map(|(name, _)| name.as_str())
    }
}

impl Meta {
    /// As others are told of it.
    pub(super) fn field(&self, name: &str) -> Field {
        let takes = match (self.kind, &self.choices) {
            (Kind::Text | Kind::Phone | Kind::Html | Kind::RelatedName, _) => FieldType::Text,
            (Kind::Integer | Kind::Decimal, _) => FieldType::Number,
            (Kind::Boolean, _) => FieldType::Boolean,
            (Kind::Date, _) => FieldType::Date,
            (Kind::Time, _) => FieldType::Time,
            (Kind::Selection, Some(choices)) => FieldType::Choice(choices.clone()),
            (Kind::Selection, None) => FieldType::Other("selection".to_owned()),
            (Kind::Related, _) => FieldType::Other(format!(
                "id of {}",
                self.relation.as_deref().unwrap_or("another record")
            )),
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
        !self.read_only && self.kind == Kind::Text
    }

    /// Whether a record cannot be created without it.
    pub(super) const fn is_required(&self) -> bool {
        self.required
    }

    /// A value as Odoo takes it. Nothing but what the field's type allows gets through: lists are commands there.
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
        let is_empty = value.is_null() || value.as_str().is_some_and(|text| values::stripped(text).is_empty());
        if is_empty && self.required {
            return Err(refused("it cannot be empty".to_owned()));
        }
        if value.is_null() {
            return Ok(json!(false));
        }
        match self.kind {
            Kind::Text | Kind::Phone | Kind::Html | Kind::Selection => {
                let text = value.as_str().ok_or_else(|| wants("a text"))?;
                if !values::is_storable(text) {
                    return Err(wants("a text without NUL characters"));
                }
                if let Some(choices) = &self.choices
                    && !choices.iter().any(|choice| choice == text)
                {
                    return Err(wants(&format!("one of {}", choices.join(", "))));
                }
                Ok(match self.kind {
                    Kind::Html => json!(values::html(text)),
                    _ => json!(text),
                })
            }
            Kind::Boolean => value.as_bool().map(Value::Bool).ok_or_else(|| wants("true or false")),
            Kind::Integer => {
                let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                // What the database's column cannot hold.
                let number = number.filter(|number| i32::try_from(*number).is_ok());
                number
                    .map(|number| json!(number))
                    .ok_or_else(|| wants("a whole number"))
            }
            Kind::Related => {
                let id = value.as_i64().filter(|id| *id > 0);
                let id = id.or_else(|| values::record_id(value.as_str()?));
                id.map(|id| json!(id)).ok_or_else(|| wants("the id of a record"))
            }
            Kind::Decimal => match told_decimal(value) {
                // As a number, which JSON has no other of.
                Some(decimal) => Ok(json!(decimal.to_string().parse::<f64>().unwrap_or_default())),
                None => Err(wants("a number, or one as text")),
            },
            Kind::Date => {
                let day = value.as_str().and_then(values::date);
                day.map(|day| json!(day.to_string()))
                    .ok_or_else(|| wants("a day, as 2026-01-31"))
            }
            Kind::Time => {
                let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
                time.map(|time| json!(values::encoded_time(time.to_utc())))
                    .ok_or_else(|| wants("a time, as 2026-01-31T12:00:00Z"))
            }
            Kind::RelatedName => Err(refused("it can only be read".to_owned())),
        }
    }

    /// A value from Odoo, as others are told: decimals as text, times as RFC 3339, related records by id or by name.
    pub(super) fn decoded(&self, value: &Value) -> Value {
        if self.kind == Kind::Boolean {
            return value.clone();
        }
        if value == &json!(false) {
            return Value::Null;
        }
        match self.kind {
            Kind::Html => value.as_str().map_or(Value::Null, |html| json!(values::shown(html))),
            Kind::Decimal => values::decimal(value).map_or(Value::Null, |decimal| json!(decimal.to_string())),
            Kind::Related => values::related(value).map_or(Value::Null, |id| json!(id)),
            Kind::RelatedName => values::related_name(value).map_or(Value::Null, |name| json!(name)),
            Kind::Time => values::time(value).map_or(Value::Null, |time| {
                json!(time.to_rfc3339_opts(SecondsFormat::Secs, true))
            }),
            _ => value.clone(),
        }
    }

    /// Whether an encoded value is what the record has already.
    pub(super) fn is_same(&self, encoded: &Value, current: &Value) -> bool {
        let text = |value: &Value| {
            value
                .as_str()
                .map(|text| values::stripped(text).to_owned())
                .unwrap_or_default()
        };
        match self.kind {
            Kind::Text => text(encoded) == text(current),
            // Odoo may write a number in its own way.
            Kind::Phone => {
                let (encoded, current) = (text(encoded), text(current));
                encoded == current || is_same_number(&encoded, &current)
            }
            Kind::Html => text(&self.decoded(encoded)) == text(&self.decoded(current)),
            Kind::Related => encoded.as_i64() == values::related(current),
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

impl Odoo {
    /// The fields of an entity that are told: those of one value that are stored.
    pub(super) async fn metas(&self, entity: Entity) -> Result<Arc<Metas>, Error> {
        let setup = self.setup().await?;
        let model = model_of(entity);
        let mut cached = self.models.0.lock().await;
        if let Some((at, metas)) = cached.get(model)
            && monotonic().saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(metas));
        }
        let metas = Arc::new(self.read_metas(entity, &setup).await?);
        cached.insert(model, (monotonic(), Arc::clone(&metas)));
        Ok(metas)
    }

    /// Forgets what was learnt of the models.
    pub(super) async fn forget_models(&self) {
        self.models.0.lock().await.clear();
    }

    async fn read_metas(&self, entity: Entity, setup: &Setup) -> Result<Metas, Error> {
        let model = model_of(entity);
        let attributes = [
            "string",
            "type",
            "required",
            "readonly",
            "store",
            "selection",
            "relation",
        ];
        let call = Call::new(model, "fields_get")
            .with("attributes", json!(attributes))
            .context(setup.context(&[]));
        let described: BTreeMap<String, Described> = self.rpc.call(call).await?;
        let required: Vec<&String> = described
            .iter()
            .filter(|(_, field)| field.required == json!(true))
            .map(|(name, _)| name)
            .collect();
        let call = Call::new(model, "default_get")
            .argument("fields", json!(required))
            .context(setup.context(&[]));
        let defaults: BTreeMap<String, Value> = self.rpc.call(call).await?;
        Ok(metas_of(entity, described, &defaults))
    }
}

fn metas_of(entity: Entity, described: BTreeMap<String, Described>, defaults: &BTreeMap<String, Value>) -> Metas {
    let model = model_of(entity);
    let mut metas = Metas::default();
    for &(of, now, before) in RENAMED.iter().filter(|(of, ..)| *of == model) {
        debug_assert_eq!(of, model);
        if described.contains_key(before) != described.contains_key(now) {
            metas.renamed.insert(before, now);
        }
    }
    for (there, field) in described {
        let Some(kind) = field
            .holds(&there)
            .filter(|_| field.store == json!(true) && there != "id")
        else {
            continue;
        };
        let name = metas
            .renamed
            .get(there.as_str())
            .map_or_else(|| there.clone(), |now| (*now).to_owned());
        let read_only = field.readonly == json!(true);
        let has_default = defaults
            .get(&there)
            .is_some_and(|value| *value != json!(false) && !value.is_null());
        // Contacts must have one, by a constraint rather than by their field.
        let is_contacts_name = entity == Entity::Contact && there == "name";
        let choices = field.selection.as_array().map(|choices| {
            let values = choices.iter().filter_map(|choice| choice[0].as_str());
            values.map(str::to_owned).collect()
        });
        let meta = Meta {
            label: field.string,
            kind,
            required: (field.required == json!(true) || is_contacts_name) && !has_default && !read_only,
            read_only,
            choices,
            relation: field.relation.as_str().map(str::to_owned),
            there,
        };
        if kind == Kind::Related {
            let name_of_it = Meta {
                label: format!("{} (name)", meta.label),
                kind: Kind::RelatedName,
                required: false,
                read_only: true,
                ..meta.clone()
            };
            metas.by_name.insert(format!("{name}.name"), name_of_it);
        }
        metas.by_name.insert(name, meta);
    }
    metas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(kind: Kind) -> Meta {
        Meta {
            there: "x".to_owned(),
            label: "X".to_owned(),
            kind,
            required: false,
            read_only: false,
            choices: None,
            relation: None,
        }
    }

    const ALL: [Kind; 10] = [
        Kind::Text,
        Kind::Phone,
        Kind::Html,
        Kind::Selection,
        Kind::Boolean,
        Kind::Integer,
        Kind::Decimal,
        Kind::Date,
        Kind::Time,
        Kind::Related,
    ];

    #[test]
    fn only_what_the_type_allows_is_sent() {
        for kind in ALL {
            for hostile in [json!([[6, 0, [1]]]), json!([5]), json!({"x": 1})] {
                assert!(meta(kind).encoded("x", &hostile).is_err(), "{kind:?} {hostile}");
            }
        }
        assert!(meta(Kind::Text).encoded("x", &json!("a\0b")).is_err());
        assert!(meta(Kind::Text).encoded("x", &json!(5)).is_err());
        assert!(meta(Kind::Related).encoded("x", &json!("1 OR 1=1")).is_err());
        assert!(meta(Kind::Related).encoded("x", &json!(-1)).is_err());
        assert!(meta(Kind::Integer).encoded("x", &json!(3_000_000_000_i64)).is_err());
        let required = Meta {
            required: true,
            ..meta(Kind::Text)
        };
        for empty in [json!(null), json!(""), json!("  ")] {
            assert!(required.encoded("x", &empty).is_err(), "{empty}");
        }
        let chosen = Meta {
            choices: Some(vec!["a".to_owned()]),
            ..meta(Kind::Selection)
        };
        assert!(chosen.encoded("x", &json!("b")).is_err());
        assert_eq!(chosen.encoded("x", &json!("a")).unwrap(), json!("a"));
    }

    #[test]
    fn values_go_there_and_come_back() {
        for (kind, told) in [
            (Kind::Decimal, json!("12.5")),
            (Kind::Date, json!("2026-01-31")),
            (Kind::Time, json!("2026-01-31T12:00:00Z")),
            (Kind::Boolean, json!(true)),
            (Kind::Integer, json!(5)),
            (Kind::Text, json!("Ana")),
            (Kind::Html, json!("a < b")),
            (Kind::Text, Value::Null),
            (Kind::Decimal, Value::Null),
        ] {
            let meta = meta(kind);
            let encoded = meta.encoded("x", &told).unwrap();
            assert_eq!(meta.decoded(&encoded), told, "{kind:?}");
            assert!(meta.is_same(&encoded, &encoded));
        }
        let current = json!([7, "Ana"]);
        assert_eq!(meta(Kind::Related).decoded(&current), json!(7));
        assert_eq!(meta(Kind::RelatedName).decoded(&current), json!("Ana"));
        assert!(meta(Kind::Related).is_same(&json!(7), &current));
        assert!(!meta(Kind::Related).is_same(&json!(8), &current));
        assert!(meta(Kind::Related).is_same(&json!(false), &json!(false)));
        assert!(meta(Kind::Phone).is_same(&json!("+40722123456"), &json!("+40 722 123 456")));
        assert!(meta(Kind::Text).is_same(&json!(false), &json!("")));
        assert!(meta(Kind::Decimal).is_same(&json!(1.5), &json!(1.50)));
        assert!(!meta(Kind::Decimal).is_same(&json!(0.0), &json!(2.0)));
    }

    fn described(names: &[&str]) -> BTreeMap<String, Described> {
        let field = |name: &&str| {
            let kind = if name.ends_with("revenue") { "float" } else { "many2one" };
            let field = json!({"string": "S", "type": kind, "store": true, "readonly": false, "required": false});
            ((*name).to_owned(), serde_json::from_value(field).unwrap())
        };
        names.iter().map(field).collect()
    }

    #[test]
    fn a_renamed_field_has_its_newest_name_and_answers_to_both() {
        for there in ["planned_revenue", "expected_revenue"] {
            let metas = metas_of(Entity::Lead, described(&[there]), &BTreeMap::new());
            for name in ["planned_revenue", "expected_revenue"] {
                assert_eq!(metas.get(name).unwrap().there, there);
            }
            assert_eq!(
                metas.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                ["expected_revenue"]
            );
            assert_eq!(metas.name_here(there), Some("expected_revenue"));
        }
        let both = metas_of(
            Entity::Lead,
            described(&["planned_revenue", "expected_revenue"]),
            &BTreeMap::new(),
        );
        assert_eq!(both.get("planned_revenue").unwrap().there, "planned_revenue");
    }

    #[test]
    fn a_related_record_is_told_by_id_and_by_name() {
        let metas = metas_of(Entity::Lead, described(&["user_id"]), &BTreeMap::new());
        assert_eq!(metas.names_there(), ["user_id"]);
        assert!(metas.get("user_id.name").unwrap().field("user_id.name").read_only);
    }
}
