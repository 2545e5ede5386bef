//! The keys of a REST connector in the configuration, and the ready ones of a preset.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use url::Url;

use super::refused;
use crate::error::Error;
use crate::settings;

/// A JSON API, as the configuration describes it. The module's page says what the texts and expressions may hold.
///
/// Everything may come from the preset, so nothing is required here; what is missing in the end is refused by
/// [`Rest::new`](super::Rest::new).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestConfig {
    /// Ready keys for a system, which the others override.
    pub preset: Option<Preset>,
    /// What all paths are below.
    pub url: Option<Url>,
    /// Whether credentials may travel unencrypted to any host.
    pub allow_http: Option<bool>,
    /// How long one request may take; a call, with all that it repeats, three times that. Default: 10 s.
    pub timeout: Option<Span>,
    /// How many requests there may be at a time. Default: 4.
    pub concurrency: Option<NonZeroUsize>,
    /// How many requests the system allows. Default: any number.
    pub rate: Option<RateConfig>,
    /// How requests say who asks. Default: not at all.
    pub auth: Option<AuthKind>,
    /// For `basic` and `session`.
    pub username: Option<String>,
    /// For `basic` and `session`.
    #[serde(skip_serializing)]
    pub password: Option<SecretString>,
    /// For `bearer`.
    #[serde(skip_serializing)]
    pub token: Option<SecretString>,
    /// For `header`, for `session`, and for `basic` where the user's name is the key and there is no password.
    #[serde(skip_serializing)]
    pub api_key: Option<SecretString>,
    /// For `header`: its name. Default: `X-Api-Key`.
    pub header: Option<String>,
    /// For `oauth2` and `session`.
    pub client_id: Option<String>,
    /// For `oauth2` and `session`.
    #[serde(skip_serializing)]
    pub client_secret: Option<SecretString>,
    /// For `oauth2`: where tokens are granted.
    pub oauth: Option<OauthConfig>,
    /// For `session`: how to log in.
    pub session: Option<SessionConfig>,
    /// Values for templates, as `vars.NAME`.
    pub vars: BTreeMap<String, Value>,
    /// The type that bodies are said to have. Default: `application/json`.
    pub content_type: Option<String>,
    /// Headers of every request: templates.
    pub headers: BTreeMap<String, String>,
    /// What in an answer means that it is an error, whatever its status. The first that holds counts.
    pub errors: Option<Vec<ErrorConfig>>,
    /// Finds items by words.
    pub search: Option<OperationConfig>,
    /// Tells the stock of SKUs.
    pub stock: Option<OperationConfig>,
    /// Tells the prices of SKUs.
    pub prices: Option<OperationConfig>,
    /// The contacts of a CRM.
    pub contacts: Option<EntityConfig>,
    /// The leads of a CRM.
    pub leads: Option<EntityConfig>,
    /// A SKU that there is, by which a check verifies what the answers hold.
    pub check_sku: Option<String>,
}

/// A system whose keys are ready. None has been verified against a live account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// NextUp ERP (Romania).
    Nextup,
    /// Nexus ERP (Romania).
    Nexus,
}

impl Preset {
    /// The keys, as TOML.
    pub const fn toml(self) -> &'static str {
        match self {
            Self::Nextup => include_str!("presets/nextup.toml"),
            Self::Nexus => include_str!("presets/nexus.toml"),
        }
    }
}

/// A time span with its unit, such as `"10s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        settings::duration(deserializer).map(Self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", self.0.as_millis()))
    }
}

/// So many requests in any period of this length.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateConfig {
    /// How many.
    pub requests: NonZeroU32,
    /// The period.
    pub per: Span,
}

/// How requests say who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// Not at all.
    None,
    /// HTTP basic: `username` and `password`, or `api_key` alone.
    Basic,
    /// `Authorization: Bearer` with `token`.
    Bearer,
    /// A header of its own with `api_key`.
    Header,
    /// OAuth 2.0, client credentials: `client_id`, `client_secret` and `[oauth]`.
    Oauth2,
    /// A session that a request of its own opens: `[session]`.
    Session,
}

/// Where OAuth tokens are granted (RFC 6749, 4.4).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OauthConfig {
    /// The whole URL.
    pub url: Url,
    /// What the token is to allow.
    #[serde(default)]
    pub scope: Option<String>,
    /// More fields of the form, such as `audience`.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    /// Where the client's id and secret are sent. Default: in the body.
    #[serde(default)]
    pub send: Option<OauthSend>,
}

/// Where the client's id and secret are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OauthSend {
    /// As fields of the form.
    Body,
    /// As HTTP basic.
    Basic,
}

/// A session that a request opens.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// Default: POST.
    pub method: Option<String>,
    /// Template.
    pub path: Option<String>,
    /// Templates.
    pub query: BTreeMap<String, String>,
    /// Templates.
    pub headers: BTreeMap<String, String>,
    /// A tree of templates.
    pub body: Option<Value>,
    /// Templates of a form, instead of `body`.
    pub form: Option<BTreeMap<String, String>>,
    /// Finds, in the answer, what other templates know as `{{ token }}`.
    pub value: Option<String>,
    /// The cookie of the answer that is sent with every request.
    pub cookie: Option<String>,
    /// Finds, in the answer, for how many seconds it holds.
    pub expires_in: Option<String>,
    /// For how long it holds, if the answer does not say. Default: until it is refused.
    pub lasts: Option<Span>,
}

/// What means that an answer is an error.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorConfig {
    /// An expression; what it finds is neither false, null nor empty.
    pub when: String,
    /// Finds what the system says. Default: what `when` finds, if that is a text.
    #[serde(default)]
    pub message: Option<String>,
    /// What it says holds one of these, whatever their case. Default: anything.
    #[serde(default)]
    pub like: Vec<String>,
    /// What it means.
    pub is: ErrorKind,
    /// For `rate_limited`: how long to leave the system alone.
    #[serde(default)]
    pub wait: Option<Span>,
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The credentials are refused, or the session has ended.
    Auth,
    /// The user may not do this.
    Forbidden,
    /// Too many requests.
    RateLimited,
    /// What was asked for is not there: no failure.
    NotFound,
    /// Worth asking again.
    Transient,
    /// It does not accept what was sent.
    Rejected,
    /// It is there otherwise than it should be.
    Conflict,
}

/// One kind of request, and how its answer is read. Not every key means something to every operation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperationConfig {
    /// Default: GET, or POST with a body; for `create` POST, for `update` PATCH.
    pub method: Option<String>,
    /// Template.
    pub path: Option<String>,
    /// Templates; a parameter without a value is left out.
    pub query: BTreeMap<String, String>,
    /// Templates.
    pub headers: BTreeMap<String, String>,
    /// A tree of templates.
    pub body: Option<Value>,
    /// Templates of a form, instead of `body`.
    pub form: Option<BTreeMap<String, String>>,
    /// Finds the items in the answer. Default: `@`.
    pub items: Option<String>,
    /// How an item is read: an expression for each.
    pub columns: BTreeMap<String, String>,
    /// Stock: finds the warehouses in an item, to which the columns `warehouse`, `warehouse_name`, `on_hand` and `available`
    /// then belong.
    pub places: Option<String>,
    /// Stock and prices: how many SKUs a request may have. Default: 50.
    pub batch: Option<NonZeroUsize>,
    /// Search: whether `stock` is asked for the words as a SKU too, because the system's search knows names only.
    pub codes: Option<bool>,
    /// Prices: whether a price of zero means that there is none.
    pub zero_is_unknown: Option<bool>,
    /// Changes: whether the oldest come first. Then, what is more than `max_pages` comes next time.
    pub oldest_first: Option<bool>,
    /// Changes: for how long a change may become visible after its own time. Default: 2 minutes.
    pub overlap: Option<Span>,
    /// How the answer goes on.
    pub paging: Option<PagingConfig>,
}

/// How an answer goes on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagingConfig {
    /// In which way.
    pub style: Option<PagingStyle>,
    /// `{{ size }}`: how many items a page is to have. Default: 100.
    pub size: Option<NonZeroUsize>,
    /// `{{ page }}` of the first page. Default: 1.
    pub first: Option<u32>,
    /// Finds whether there are more pages. Default: until a page is empty.
    pub more: Option<String>,
    /// Finds the cursor, or the URL, of the next page; nothing on the last one.
    pub next: Option<String>,
    /// How many pages are read at most. Default: 20.
    pub max_pages: Option<NonZeroU32>,
}

/// In which way an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PagingStyle {
    /// `{{ page }}` is the number of the page.
    Page,
    /// `{{ offset }}` is how many items came before.
    Offset,
    /// `{{ cursor }}` is what `next` found on the page before.
    Cursor,
    /// The header `Link` has the URL of the next page (RFC 8288).
    Link,
    /// `next` finds the URL of the next page.
    NextUrl,
}

/// What a CRM keeps of one kind.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntityConfig {
    /// Finds a record's id. Default: `id`.
    pub id: Option<String>,
    /// Finds when a record was last changed.
    pub changed_at: Option<String>,
    /// The fields there are.
    pub fields: BTreeMap<String, FieldConfig>,
    /// The field that holds the e-mail address.
    pub email_field: Option<String>,
    /// The field that holds the telephone number.
    pub phone_field: Option<String>,
    /// The field that holds our reference.
    pub reference_field: Option<String>,
    /// Finds the record with an id.
    pub find_by_id: Option<OperationConfig>,
    /// Finds the records with an e-mail address.
    pub find_by_email: Option<OperationConfig>,
    /// Finds the records with a telephone number.
    pub find_by_phone: Option<OperationConfig>,
    /// Finds the records with our reference.
    pub find_by_reference: Option<OperationConfig>,
    /// Creates a record; its answer has the id.
    pub create: Option<OperationConfig>,
    /// Changes a record.
    pub update: Option<OperationConfig>,
    /// Finds the records that changed.
    pub changes: Option<OperationConfig>,
}

/// A field of a record.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldConfig {
    /// The name that people see. Default: its name.
    pub label: Option<String>,
    /// What it takes. Default: a text.
    pub takes: Option<Takes>,
    /// The values it takes, instead of `takes`.
    pub choices: Option<Vec<String>>,
    /// Whether a record cannot be created without it.
    pub required: Option<bool>,
    /// Whether it can only be read.
    pub read_only: Option<bool>,
    /// Finds it in a record. Default: the field of its name.
    pub path: Option<String>,
}

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A point in time.
    Time,
}

impl RestConfig {
    /// The keys, with those of the preset where there are none.
    pub(super) fn completed(self) -> Result<Self, Error> {
        let Some(preset) = self.preset else {
            return Ok(self);
        };
        let unusable = |problem: String| refused("preset", problem);
        let mut keys: Value = toml::from_str(preset.toml()).map_err(|error| unusable(error.to_string()))?;
        let own = serde_json::to_value(&self).map_err(|error| unusable(error.to_string()))?;
        overlay(&mut keys, own);
        let completed: Self = serde_json::from_value(keys).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            password: self.password,
            token: self.token,
            api_key: self.api_key,
            client_secret: self.client_secret,
            ..completed
        })
    }
}

/// Puts values over others, table by table; what is null says nothing.
fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                overlay(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under @ Value::Null, Value::Object(over)) => {
            let mut table = Value::Object(serde_json::Map::new());
            overlay(&mut table, Value::Object(over));
            *under = table;
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn own_keys_override_those_of_a_preset_one_by_one() {
        let own = json!({"preset": "nextup", "url": "https://erp.example.ro/", "password": "hunter2", "timeout": "3s",
            "stock": {"columns": {"uom": "Um"}}, "vars": {"database": "1"}});
        let own: RestConfig = serde_json::from_value(own).unwrap();
        assert!(!format!("{own:?}").contains("hunter2"));
        let whole = own.completed().unwrap();
        let stock = whole.stock.unwrap();
        assert_eq!(stock.columns["uom"], "Um");
        assert_eq!(stock.columns["sku"], "Code", "the others stay");
        assert!(stock.body.is_some() && whole.errors.is_some_and(|errors| !errors.is_empty()));
        assert_eq!(whole.timeout, Some(Span(Duration::from_secs(3))));
        assert!(whole.password.is_some());
    }

    #[test]
    fn unknown_keys_are_refused_wherever_they_are() {
        for keys in [
            json!({"urls": "x"}),
            json!({"stock": {"pth": "x"}}),
            json!({"stock": {"paging": {"style": "pages"}}}),
            json!({"session": {"token": "x"}}),
            json!({"errors": [{"when": "x", "is": "broken"}]}),
            json!({"rate": {"requests": 0, "per": "1s"}}),
        ] {
            assert!(serde_json::from_value::<RestConfig>(keys.clone()).is_err(), "{keys}");
        }
    }
}
