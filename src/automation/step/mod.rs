//! What a rule can do: one file a kind of step.
//!
//! A step is prepared first: its templates are rendered to what it is to do, which is kept. One with an effect is then tried, and
//! tried again where it is not known what became of it; so it looks first whether it had its effect.

mod close;
mod contact;
mod crm;
mod email;
mod extract;
mod http;
mod nats;
mod price;
mod query;
mod reply;
mod stock;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allai_connectors as connectors;
use chrono::{DateTime, Utc};
use minijinja::Environment;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::condition::Condition;
use super::facts;
use super::rule::Placed;
use super::template::{Template, Unrenderable};
use super::tools::Tools;
use crate::allai;
use crate::config::{self, Config, Misfit, duration};
use crate::warehouse;

/// The keys that every step may have.
const COMMON: [&str; 6] = ["name", "do", "when", "timeout", "attempts", "on_error"];
const KINDS: [&str; 11] = [
    "extract", "stock", "price", "query", "reply", "contact", "crm", "close", "http", "email", "nats",
];
/// A step may take so long, if it does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(5);
/// A step is tried so often, if it does not say.
const ATTEMPTS: u32 = 5;
const MOST_ATTEMPTS: u32 = 20;

/// What a step does.
#[derive(Debug)]
pub(super) enum Step {
    /// Finds products, or what a pattern matches, in a text.
    Extract(extract::Extract),
    /// Looks up stock.
    Stock(stock::Stock),
    /// Works out prices.
    Price(price::Price),
    /// Asks a database.
    Query(query::Query),
    /// Writes into the conversation.
    Reply(reply::Reply),
    /// Changes the contact.
    Contact(contact::Contact),
    /// Keeps a contact or a lead in a CRM.
    Crm(crm::Crm),
    /// Closes the conversation.
    Close(close::Close),
    /// Sends an HTTP request.
    Http(http::Http),
    /// Sends mail.
    Email(email::Email),
    /// Publishes to NATS.
    Nats(nats::Nats),
}

/// The run that a step belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) account: &'a str,
    pub(super) run_id: &'a str,
    pub(super) position: usize,
    pub(super) conversation_id: &'a str,
    pub(super) contact_id: Option<&'a str>,
    /// Whether an earlier try may have had its effect.
    pub(super) is_again: bool,
    /// When it was tried first.
    pub(super) since: DateTime<Utc>,
}

/// Why a step did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct Failure {
    pub(super) problem: String,
    /// Whether trying again may help, and after how long at the soonest.
    pub(super) again: Option<Duration>,
    /// Whether it may have had its effect all the same.
    pub(super) unsure: bool,
}

impl Failure {
    /// It did not happen, and trying again is of no use.
    pub(super) fn lasting(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            again: None,
            unsure: false,
        }
    }

    /// Trying again may help, and nobody knows whether it happened.
    pub(super) fn passing(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            again: Some(Duration::ZERO),
            unsure: true,
        }
    }
}

impl From<Unrenderable> for Failure {
    fn from(error: Unrenderable) -> Self {
        Self::lasting(error.to_string())
    }
}

impl From<warehouse::Error> for Failure {
    fn from(error: warehouse::Error) -> Self {
        Self::passing(error.to_string())
    }
}

impl From<allai::Error> for Failure {
    fn from(error: allai::Error) -> Self {
        let may_pass = error.is_unreachable()
            || matches!(
                error,
                allai::Error::RateLimited { .. }
                    | allai::Error::Server { .. }
                    | allai::Error::Transport { .. }
                    | allai::Error::InvalidBody { .. }
            );
        if may_pass {
            Self::passing(error.to_string())
        } else {
            Self::lasting(error.to_string())
        }
    }
}

impl From<connectors::Error> for Failure {
    fn from(error: connectors::Error) -> Self {
        let again = match &error {
            connectors::Error::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or_default()),
            error if error.is_worth_repeating() => Some(Duration::ZERO),
            _ => None,
        };
        let unsure = match &error {
            connectors::Error::Transient { may_have_happened, .. } => *may_have_happened,
            connectors::Error::Unreadable { .. } => true,
            _ => false,
        };
        Self {
            problem: error.to_string(),
            again,
            unsure,
        }
    }
}

impl Step {
    /// The word for it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Extract(_) => "extract",
            Self::Stock(_) => "stock",
            Self::Price(_) => "price",
            Self::Query(_) => "query",
            Self::Reply(_) => "reply",
            Self::Contact(_) => "contact",
            Self::Crm(_) => "crm",
            Self::Close(_) => "close",
            Self::Http(_) => "http",
            Self::Email(_) => "email",
            Self::Nats(_) => "nats",
        }
    }

    /// Whether it changes anything outside.
    pub(super) const fn has_effect(&self) -> bool {
        !matches!(
            self,
            Self::Extract(_) | Self::Stock(_) | Self::Price(_) | Self::Query(_)
        )
    }

    /// What it is to do, given what is known.
    pub(super) fn prepare(&self, environment: &Environment<'static>, facts: &Value) -> Result<Value, Failure> {
        let template = match self {
            Self::Extract(step) => &step.from,
            Self::Stock(step) => &step.skus,
            Self::Price(step) => &step.asked,
            Self::Query(step) => &step.parameters,
            Self::Reply(step) => &step.text,
            Self::Contact(step) => &step.change,
            Self::Crm(step) => &step.record,
            Self::Close(step) => &step.resolution,
            Self::Http(step) => &step.request,
            Self::Email(step) => &step.letter,
            Self::Nats(step) => &step.message,
        };
        Ok(template.render(environment, self.kind(), facts)?)
    }

    /// Does it.
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>, tools: &Tools) -> Result<Value, Failure> {
        match self {
            Self::Extract(step) => step.perform(input, tools).await,
            Self::Stock(step) => step.perform(input, tools).await,
            Self::Price(step) => step.perform(input, tools).await,
            Self::Query(step) => step.perform(input, tools).await,
            Self::Reply(step) => step.perform(input, of, tools).await,
            Self::Contact(step) => step.perform(input, of, tools).await,
            Self::Crm(step) => step.perform(input, tools).await,
            Self::Close(step) => step.perform(input, of, tools).await,
            Self::Http(step) => step.perform(input, of).await,
            Self::Email(step) => step.perform(input, of).await,
            Self::Nats(step) => step.perform(input, of).await,
        }
    }
}

/// What every step may say.
struct Common {
    when: Option<Condition>,
    timeout: Duration,
    attempts: u32,
    goes_on: bool,
}

/// What the steps of a rule stand on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) environment: &'a Environment<'static>,
    pub(super) config: &'a Config,
    pub(super) account: Option<&'a str>,
}

/// What reads a step's own keys.
pub(super) struct Reading<'a> {
    ground: Ground<'a>,
    misfits: Vec<Misfit>,
}

impl Reading<'_> {
    /// Notes what is wrong.
    fn wrong(&mut self, key: &[&str], problem: impl Into<String>, remedy: impl Into<String>) {
        self.misfits.push(Misfit::new(key, problem, remedy));
    }

    /// A value with templates in it: that of a key, or an object of several.
    fn template(&mut self, key: &[&str], value: &Value) -> Template {
        Template::new(self.ground.environment, value).unwrap_or_else(|(path, problem)| {
            let mut misfit = Misfit::new(key, problem, "");
            misfit.key.extend(path);
            self.misfits.push(misfit);
            Template::Plain(Value::Null)
        })
    }

    /// Checks that there is a connector of the name that is at `key`, and that it can do what it otherwise `cannot`.
    fn connector(
        &mut self,
        key: &str,
        name: &str,
        cannot: &str,
        can: impl Fn(&dyn connectors::Connector) -> bool,
    ) -> Option<Arc<dyn connectors::Connector>> {
        let known = &self.ground.config.connectors;
        let connector = known.get(name).map(config::Connector::connect);
        match connector {
            None => {
                let known: Vec<&str> = known.keys().map(String::as_str).collect();
                self.wrong(
                    &[key],
                    "there is no connector of this name",
                    format!("there are: {}", known.join(", ")),
                );
                None
            }
            Some(Some(connector)) if !can(&*connector) => {
                self.wrong(
                    &[key],
                    format!("{} {cannot}, as it is configured", connector.kind()),
                    "name another connector",
                );
                None
            }
            // What is wrong with one that cannot be made is said where it is.
            Some(connector) => connector,
        }
    }

    /// The keys that every step may have; its conditions may read `variables`.
    fn common(&mut self, table: &BTreeMap<String, Value>, variables: &[&str]) -> Common {
        let mut common = Common {
            when: None,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            goes_on: false,
        };
        match table.get("when") {
            None => {}
            Some(Value::String(source)) => match Condition::new(source, variables) {
                Ok(condition) => common.when = Some(condition),
                Err(problem) => self.wrong(&["when"], problem, ""),
            },
            Some(_) => self.wrong(&["when"], "expected an expression", "write it in quotes"),
        }
        if let Some(value) = table.get("timeout") {
            match duration::deserialize(value) {
                Ok(timeout) if !timeout.is_zero() && timeout <= LONGEST_TIMEOUT => common.timeout = timeout,
                _ => self.wrong(&["timeout"], "not a time up to 5m", "write e.g. \"10s\""),
            }
        }
        if let Some(value) = table.get("attempts") {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            if let Some(number @ 1..=MOST_ATTEMPTS) = number {
                common.attempts = number;
            } else {
                self.wrong(&["attempts"], format!("not a number from 1 to {MOST_ATTEMPTS}"), "");
            }
        }
        match table.get("on_error").map(Value::as_str) {
            None | Some(Some("stop")) => {}
            Some(Some("continue")) => common.goes_on = true,
            Some(_) => self.wrong(&["on_error"], "not a known value", "use \"stop\" or \"continue\""),
        }
        common
    }

    /// The keys of one kind of step.
    fn keys<T: DeserializeOwned>(&mut self, own: &BTreeMap<String, Value>) -> Option<T> {
        let object = Value::Object(own.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
        match serde_path_to_error::deserialize::<_, T>(object) {
            Ok(keys) => Some(keys),
            Err(error) => {
                let path: Vec<String> = error.path().iter().map(ToString::to_string).collect();
                let path: Vec<&str> = path.iter().map(String::as_str).filter(|part| *part != "?").collect();
                self.wrong(&path, told(error.inner()), "");
                None
            }
        }
    }
}

/// What is wrong, without the value: it may be a secret in the wrong place.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(", expected ") {
        Some((_, expected)) if !text.starts_with("unknown field") => format!("expected {expected}"),
        _ => text,
    }
}

/// Reads a step: its place is `index`, and `before` are those before it.
pub(super) fn read(
    index: usize,
    table: &BTreeMap<String, Value>,
    before: &[Placed],
    ground: Ground<'_>,
) -> Result<Placed, Vec<Misfit>> {
    let mut reading = Reading {
        ground,
        misfits: Vec::new(),
    };
    let kind = table.get("do").and_then(Value::as_str).unwrap_or_default();
    let name = table.get("name").and_then(Value::as_str).unwrap_or(kind).to_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if table.contains_key("name") && (name.is_empty() || !name.chars().all(allowed)) {
        reading.wrong(
            &["name"],
            "not a name that templates can use",
            "use letters, digits and _",
        );
    }
    if facts::NAMES.contains(&name.as_str()) && kind != name {
        reading.wrong(&["name"], "means something else already", "choose another");
    }
    if before.iter().any(|step| step.name == name) {
        reading.wrong(
            &["name"],
            format!("another step before this one is called {name}"),
            "give it a name of its own: name = \"…\"",
        );
    }
    let mut variables: Vec<&str> = facts::NAMES.to_vec();
    variables.extend(before.iter().map(|step| step.name.as_str()));
    let common = reading.common(table, &variables);
    let own: BTreeMap<String, Value> = table
        .iter()
        .filter(|(key, _)| !COMMON.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let step = match kind {
        "extract" => extract::read(&own, &mut reading).map(Step::Extract),
        "stock" => stock::read(&own, &mut reading).map(Step::Stock),
        "price" => price::read(&own, &mut reading).map(Step::Price),
        "query" => query::read(&own, &mut reading).map(Step::Query),
        "reply" => reply::read(&own, &mut reading).map(Step::Reply),
        "contact" => contact::read(&own, &mut reading).map(Step::Contact),
        "crm" => crm::read(&own, &mut reading).map(Step::Crm),
        "close" => close::read(&own, &mut reading).map(Step::Close),
        "http" => http::read(&own, &mut reading).map(Step::Http),
        "email" => email::read(&own, &mut reading).map(Step::Email),
        "nats" => nats::read(&own, &mut reading).map(Step::Nats),
        _ => {
            let known = KINDS.join(", ");
            reading.wrong(
                &["do"],
                "not something that a step does",
                format!("use one of: {known}"),
            );
            None
        }
    };
    match step {
        Some(step) if reading.misfits.is_empty() => Ok(Placed {
            name: if name.is_empty() { format!("step{index}") } else { name },
            when: common.when,
            timeout: common.timeout,
            attempts: common.attempts,
            goes_on: common.goes_on,
            step,
        }),
        _ => Err(reading.misfits),
    }
}

/// A list of texts, whichever way a template gave it: one, several, none.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let found: Vec<String> = match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        other => text(other).into_iter().collect(),
    };
    let mut distinct: Vec<String> = Vec::new();
    for text in found.into_iter().filter(|text| !text.is_empty()) {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct
}

/// What a step that failed leaves for those after it.
pub(super) fn failed(problem: &str) -> Value {
    json!({"failed": true, "problem": problem})
}
