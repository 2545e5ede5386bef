//! `[accounts.NAME]`: the AllAI accounts to mirror.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use url::{Host, Url};

use super::issue::{Report, nearest};
use super::secret::{Secret, validate_header};
use super::{KeyPath, duration, words};
use crate::allai::Resource;
use crate::webhooks::KNOWN_EVENTS;

/// One AllAI account.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// False keeps the account's rows and settings and syncs nothing.
    pub enabled: bool,
    /// Picks `base_url` and the documented rate limit.
    #[serde(deserialize_with = "words::name")]
    pub environment: Environment,
    /// The API's address, if it is not the environment's. Plain `http://` only for this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<BaseUrl>,
    /// The API key (AllAI Dashboard > Settings > API). Reading suffices for a mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The plan, if the limit shall not be learned from the API's headers.
    #[serde(deserialize_with = "words::name")]
    pub plan: Plan,
    /// The share of the limit left to other users of the key, 0 to 0.9.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub reserve: f64,
    /// Rows asked for per request, 1 to 1000; the API may send fewer.
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: u32,
    /// How long one request may take, such as `30s`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// What to fetch of the contacts.
    pub contacts: ResourceOptions,
    /// What to fetch of the conversations.
    pub conversations: ResourceOptions,
    /// What to fetch of the messages.
    pub messages: ResourceOptions,
    /// Which analytics to capture.
    pub analytics: AnalyticsOptions,
    /// How AllAI signs this account's webhooks; absent: none are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<AccountWebhook>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            enabled: true,
            environment: Environment::default(),
            base_url: None,
            api_key: None,
            api_key_file: None,
            plan: Plan::default(),
            reserve: 0.0,
            page_size: 100,
            timeout: Duration::from_secs(30),
            contacts: ResourceOptions::default(),
            conversations: ResourceOptions::default(),
            messages: ResourceOptions::default(),
            analytics: AnalyticsOptions::default(),
            webhook: None,
        }
    }
}

impl Account {
    /// The API's address, with a slash at its end so that paths can be joined to it.
    pub fn base_url(&self) -> Url {
        match &self.base_url {
            Some(base_url) => base_url.0.clone(),
            None => self.environment.base_url(),
        }
    }

    /// Why contacts of this account, called `name`, cannot be written: a member is not read that writing needs.
    pub(crate) fn unread_of_contacts(&self, name: &str) -> Option<String> {
        let fields = &self.contacts.fields;
        let is_read = |member: &&str| fields.is_empty() || fields.iter().any(|field| field == member);
        let unread = WRITTEN.iter().find(|member| !is_read(member))?;
        Some(format!(
            "needs all of a contact, and accounts.{name}.contacts.fields has no {unread}"
        ))
    }

    /// The limit to assume until the API states one, in requests a minute: the lowest documented for the environment.
    pub fn fallback_per_minute(&self) -> u32 {
        match self.environment {
            Environment::Production => 1_000,
            Environment::Sandbox => 100,
        }
    }

    /// The members to ask the API for; empty: all of them.
    pub fn fields(&self, resource: Resource) -> &[String] {
        match resource {
            Resource::Contacts => &self.contacts.fields,
            Resource::Conversations => &self.conversations.fields,
            Resource::Messages => &self.messages.fields,
            Resource::Analytics => &[],
        }
    }

    fn validate(&self, at: &KeyPath, report: &mut Report) {
        let key = at.join("api_key");
        match &self.api_key {
            Some(secret) => validate_header(secret, &key, report),
            // A disabled account may wait for its key.
            None if !self.enabled => {}
            None => report.missing(
                &key,
                "missing",
                "add `api_key = \"…\"` (AllAI Dashboard > Settings > API) or `api_key_file = \"PATH\"`",
            ),
        }
        if let Some(base_url) = &self.base_url {
            base_url.validate(&at.join("base_url"), report);
        }
        if !(0.0..=0.9).contains(&self.reserve) {
            report.wrong(
                &at.join("reserve"),
                "not between 0 and 0.9",
                "write e.g. reserve = 0.2 to leave a fifth",
            );
        }
        if !(1..=1000).contains(&self.page_size) {
            report.wrong(
                &at.join("page_size"),
                "not between 1 and 1000",
                "write e.g. page_size = 100",
            );
        }
        if !(Duration::from_secs(1)..=Duration::from_mins(10)).contains(&self.timeout) {
            report.wrong(
                &at.join("timeout"),
                "not between 1s and 10m",
                "write e.g. timeout = \"30s\"",
            );
        }
        for resource in [Resource::Contacts, Resource::Conversations, Resource::Messages] {
            validate_fields(
                self.fields(resource),
                &at.join(resource.as_str()).join("fields"),
                report,
            );
        }
        self.analytics.validate(&at.join("analytics"), report);
        if let Some(webhook) = &self.webhook {
            webhook.validate(&at.join("webhook"), report);
        }
    }
}

pub(super) fn validate(accounts: &BTreeMap<String, Account>, at: &KeyPath, report: &mut Report) {
    if accounts.is_empty() {
        report.missing(
            at,
            "no account is configured",
            "write a file with `allai-sync config example > config.toml` and put the account's API key in it",
        );
    }
    for (name, account) in accounts {
        let at = at.join(name);
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
            report.wrong(&at, "not a name for an account", "use 1 to 64 of a-z, 0-9, _ and -");
        }
        account.validate(&at, report);
    }
}

/// Which of AllAI's two environments an account lives in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// `https://api.allai.ro/v2/`, 1,000 requests a minute or more.
    #[default]
    Production,
    /// `https://sandbox.api.allai.ro/v2/`, 100 requests a minute.
    Sandbox,
}

impl Environment {
    /// The documented address, as AllAI's REST API guide gives it.
    fn base_url(self) -> Url {
        let text = match self {
            Self::Production => "https://api.allai.ro/v2/",
            Self::Sandbox => "https://sandbox.api.allai.ro/v2/",
        };
        Url::parse(text).expect("the documented addresses are URLs")
    }
}

/// An AllAI plan, for its rate limit (the REST API guide, "Rate Limits").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Whatever limit the API states in its headers.
    #[default]
    Auto,
    /// 1,000 requests a minute.
    Professional,
    /// 5,000 requests a minute.
    Enterprise,
    /// 10,000 requests a minute.
    WhiteLabel,
    /// 100 requests a minute.
    Sandbox,
}

impl Plan {
    /// The most requests to send a minute, whatever the API says; `None`: as many as it says.
    pub const fn ceiling_per_minute(self) -> Option<u32> {
        match self {
            Self::Auto => None,
            Self::Professional => Some(1_000),
            Self::Enterprise => Some(5_000),
            Self::WhiteLabel => Some(10_000),
            Self::Sandbox => Some(100),
        }
    }
}

/// The API's address. Always ends with a slash.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(transparent, description = "The API's address.")]
pub struct BaseUrl(#[schemars(with = "String")] Url);

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut url: Url = words::parsed(deserializer, "a URL such as \"https://api.allai.ro/v2\"")?;
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err(D::Error::custom(
                "a base URL has no user, query or fragment; the key goes into `api_key`",
            ));
        }
        Ok(Self(url))
    }
}

/// Whether a URL's host is this machine, by its name or its address.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl BaseUrl {
    fn validate(&self, key: &KeyPath, report: &mut Report) {
        match self.0.scheme() {
            "https" => {}
            "http" if is_loopback(&self.0) => {}
            "http" => report.wrong(
                key,
                "plain http would send the API key in the clear",
                "use https:// (http:// is for 127.0.0.1, ::1 and localhost only)",
            ),
            _ => report.wrong(
                key,
                "neither https nor http",
                "write e.g. base_url = \"https://api.allai.ro/v2\"",
            ),
        }
    }
}

/// What to fetch of one resource.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceOptions {
    /// The members to ask the API for, `id` among them; empty: all. What is not fetched is not stored.
    pub fields: Vec<String>,
}

fn validate_fields(fields: &[String], key: &KeyPath, report: &mut Report) {
    let name = |field: &String| {
        !field.is_empty()
            && field
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    if fields.is_empty() {
        return;
    }
    if !fields.iter().all(name) {
        report.wrong(
            key,
            "holds what is not a member's name",
            "use letters, digits, _, - and . only",
        );
    } else if !fields.iter().any(|field| field == "id") {
        report.wrong(
            key,
            "lacks \"id\", without which no row can be stored",
            "add \"id\" to the list",
        );
    }
}

/// Which analytics to capture.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyticsOptions {
    /// The periods to capture once a day, in days up to the day of capture, such as `30d`.
    pub periods: Vec<String>,
}

impl Default for AnalyticsOptions {
    fn default() -> Self {
        Self {
            periods: vec!["30d".to_owned()],
        }
    }
}

impl AnalyticsOptions {
    fn validate(&self, at: &KeyPath, report: &mut Report) {
        let key = at.join("periods");
        let days = |period: &String| {
            let days = period.strip_suffix('d').filter(|days| !days.starts_with(['0', '+']));
            days.and_then(|days| days.parse::<u16>().ok()).is_some()
        };
        if !self.periods.iter().all(days) {
            report.wrong(
                &key,
                "holds what is not a number of days",
                "write e.g. periods = [\"7d\", \"30d\"]",
            );
        }
        let mut seen = std::collections::BTreeSet::new();
        if !self.periods.iter().all(|period| seen.insert(period)) {
            report.wrong(&key, "names a period twice", "list each period once");
        }
    }
}

/// A webhook's secret that is shorter is warned about.
const SHORT_SECRET: usize = 16;

/// What must be read of a contact before it can be written: the API may take what it is not told for nothing.
const WRITTEN: [&str; 5] = ["name", "email", "phone", "tags", "custom_fields"];
/// What to do about one that is not.
pub(crate) const UNREAD_REMEDY: &str = "add it there, or remove that list";

/// How AllAI signs an account's webhooks.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountWebhook {
    /// The secret that the webhook is registered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// A file that holds the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The secret before this one, accepted as long as it stands here: to replace a secret without losing an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<Secret>,
    /// A file that holds the previous secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_file: Option<PathBuf>,
    /// Which events are asked for by `allai-sync webhooks register`; empty: all that AllAI has.
    pub events: Vec<String>,
    /// What the signature is of.
    pub signed: SignedBody,
}

/// What a webhook's signature is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignedBody {
    /// The body as it arrives.
    #[default]
    Raw,
    /// The body's JSON as JavaScript's `JSON.stringify` writes it, for a sender that signs what it does not send. What was
    /// verified is what is stored.
    Reserialized,
}

impl AccountWebhook {
    /// The secrets that are accepted, the newest first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(&self.previous_secret)
    }

    fn validate(&self, at: &KeyPath, report: &mut Report) {
        if self.secret.as_ref().is_none_or(|secret| secret.expose().is_empty()) {
            report.missing(
                &at.join("secret"),
                "missing",
                "add `secret = \"…\"` or `secret_file = \"PATH\"`, or remove the table to accept no webhooks",
            );
        }
        let is_blank = |secret: &Secret| secret.expose().chars().all(|c| c.is_whitespace() || c.is_control());
        if self
            .secret
            .as_ref()
            .is_some_and(|secret| !secret.expose().is_empty() && is_blank(secret))
        {
            report.wrong(&at.join("secret"), "blank", "make one with `openssl rand -hex 32`");
        }
        if self.previous_secret.as_ref().is_some_and(is_blank) {
            report.wrong(
                &at.join("previous_secret"),
                "empty or blank",
                "write the secret that is being replaced, or remove the key",
            );
        }
        if self
            .events
            .iter()
            .any(|event| !event.contains('.') || event.len() > 100)
        {
            report.wrong(
                &at.join("events"),
                "holds what is no name of an event",
                "write e.g. events = [\"message.received\", \"lead.created\"], or leave it out for all",
            );
        }
        self.warn(at, report);
    }

    /// Of what AllAI may take, and is hardly meant or wise.
    fn warn(&self, at: &KeyPath, report: &mut Report) {
        let remedies = [
            (
                "secret",
                &self.secret,
                "make one with `openssl rand -hex 32`, keep this one as previous_secret meanwhile, and run `allai-sync webhooks \
                 register`",
            ),
            (
                "previous_secret",
                &self.previous_secret,
                "remove it as soon as AllAI signs with the new one",
            ),
        ];
        for (name, secret, remedy) in remedies {
            let is_short = |secret: &Secret| (1..SHORT_SECRET).contains(&secret.expose().len());
            if secret.as_ref().is_some_and(is_short) {
                let key = at.join(name);
                report.warn(format!(
                    "{key} is shorter than {SHORT_SECRET} bytes: whoever guesses it can send events in AllAI's name; {remedy}"
                ));
            }
        }
        let key = at.join("events");
        for event in self.events.iter().filter(|name| !KNOWN_EVENTS.contains(&name.as_str())) {
            let remedy = match nearest(event, &KNOWN_EVENTS) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("it has {}", KNOWN_EVENTS.join(", ")),
            };
            report.warn(format!("{key}: AllAI's guide has no event {event:?}; {remedy}"));
        }
    }
}
