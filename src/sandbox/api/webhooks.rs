//! `/webhooks`: registering, and, as far as the switches say, the list that the dashboard shows, changes and removal.

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::{Call, Endpoint, Failure, Reply, query};
use crate::sandbox::account::{Members, scramble, text, time};
use crate::sandbox::options::{WebhookAgain, WebhookEndpoint};
use crate::sandbox::render;
use crate::sandbox::webhooks::{EVENTS, Webhook};

/// The endpoint of a method on one webhook, if there is one.
pub(super) fn find(method: &Method, id: &str, extra: &[WebhookEndpoint]) -> Result<Endpoint, Failure> {
    let there_is = |endpoint| extra.contains(&endpoint);
    let id = id.to_owned();
    match *method {
        Method::PATCH if there_is(WebhookEndpoint::Patch) => Ok(Endpoint::ChangeWebhook(id)),
        Method::PUT if there_is(WebhookEndpoint::Put) => Ok(Endpoint::ReplaceWebhook(id)),
        Method::DELETE if there_is(WebhookEndpoint::Delete) => Ok(Endpoint::DeleteWebhook(id)),
        _ if extra
            .iter()
            .all(|extra| matches!(extra, WebhookEndpoint::List | WebhookEndpoint::None)) =>
        {
            Err(Failure::not_found("no such endpoint: /v2/webhooks/{id}"))
        }
        _ => Err(Failure::method("some of PATCH, PUT, DELETE")),
    }
}

impl Call<'_> {
    pub(super) fn webhooks(&mut self) -> Result<Reply, Failure> {
        let span = self.span()?;
        let hooks = &self.state.hooks;
        let rows: Vec<Members> = hooks.iter().map(|hook| self.webhook_members(hook)).collect();
        let total = rows.len();
        let rows = rows.into_iter().skip(span.offset).take(span.limit).collect();
        Ok(self.list("webhooks", rows, total, span))
    }

    pub(super) fn new_webhook(&mut self) -> Result<Reply, Failure> {
        let object = self.object()?;
        let id = format!("wh_{:016x}", scramble(self.state.requests ^ self.state.options.seed));
        let hook = Webhook {
            id,
            url: acceptable(&query::required(&object, "url")?)?,
            events: events(&object)?,
            secret: query::required(&object, "secret")?.into(),
            active: active(&object)?.unwrap_or(true),
            created: Some(self.now),
        };
        let again = self.state.options.webhooks.again;
        let twin = self.state.hooks.iter().find(|other| other.url == hook.url);
        if let (WebhookAgain::Changed, Some(twin)) = (again, twin) {
            let id = twin.id.clone();
            return self.change_webhook(&id, true);
        }
        self.refuse_twin(&hook)?;
        let hook = Arc::new(hook);
        self.state.hooks.push(Arc::clone(&hook));
        Ok(Reply::created(self.webhook(&hook)))
    }

    /// What a change leaves out stays; a `whole` one leaves nothing out.
    pub(super) fn change_webhook(&mut self, id: &str, whole: bool) -> Result<Reply, Failure> {
        let at = self.webhook_at(id)?;
        let object = self.object()?;
        let mut hook = Webhook::clone(&self.state.hooks[at]);
        if whole || object.contains_key("url") {
            hook.url = acceptable(&query::required(&object, "url")?)?;
        }
        if whole || object.contains_key("events") {
            hook.events = events(&object)?;
        }
        if whole || object.contains_key("secret") {
            hook.secret = query::required(&object, "secret")?.into();
        }
        hook.active = active(&object)?.unwrap_or(whole || hook.active);
        self.refuse_twin(&hook)?;
        let hook = Arc::new(hook);
        self.state.hooks[at] = Arc::clone(&hook);
        Ok(Reply::ok(self.webhook(&hook)))
    }

    pub(super) fn delete_webhook(&mut self, id: &str) -> Result<Reply, Failure> {
        let at = self.webhook_at(id)?;
        self.state.hooks.remove(at);
        Ok(Reply::nothing())
    }

    fn webhook_at(&self, id: &str) -> Result<usize, Failure> {
        let at = self.state.hooks.iter().position(|hook| hook.id == id);
        at.ok_or_else(|| Failure::not_found(&format!("no webhook `{id}`")))
    }

    fn refuse_twin(&self, hook: &Webhook) -> Result<(), Failure> {
        let is_twin = |other: &Arc<Webhook>| other.id != hook.id && other.url == hook.url;
        if self.state.options.webhooks.again == WebhookAgain::Refused && self.state.hooks.iter().any(is_twin) {
            return Err(Failure::conflict("`url` is registered already"));
        }
        Ok(())
    }

    fn webhook(&mut self, hook: &Webhook) -> String {
        let members = self.webhook_members(hook);
        render::object(members, "webhook", &[], &self.state.options.shape, self.rng)
    }

    fn webhook_members(&self, hook: &Webhook) -> Members {
        let mut members = Members::default();
        members.push("id", text(&hook.id));
        members.push("url", text(hook.url.as_str()));
        members.push("events", Value::from(hook.events.clone()).to_string());
        members.push("active", hook.active.to_string());
        if let Some(created) = hook.created {
            members.push("created_at", time(created, self.state.account.time_format()));
        }
        members
    }
}

/// The events asked for.
fn events(object: &Map<String, Value>) -> Result<Vec<&'static str>, Failure> {
    let Some(Value::Array(events)) = object.get("events") else {
        return Err(Failure::invalid("`events` must be an array of event names"));
    };
    if events.is_empty() {
        return Err(Failure::invalid("`events` must name one event at least"));
    }
    let known = |event: &Value| {
        let known = EVENTS.iter().find(|known| event.as_str() == Some(known));
        let known_are = EVENTS.join(", ");
        known
            .copied()
            .ok_or_else(|| Failure::invalid(&format!("unknown event {event}; known are {known_are}")))
    };
    events.iter().map(known).collect()
}

fn active(object: &Map<String, Value>) -> Result<Option<bool>, Failure> {
    match object.get("active") {
        None => Ok(None),
        Some(Value::Bool(active)) => Ok(Some(*active)),
        Some(_) => Err(Failure::invalid("`active` must be true or false")),
    }
}

fn acceptable(url: &str) -> Result<Url, Failure> {
    let url = Url::parse(url).map_err(|error| Failure::invalid(&format!("`url` is not a valid URL: {error}")))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        Ok(url)
    } else {
        Err(Failure::invalid(
            "`url` must be https (http is accepted for loopback addresses)",
        ))
    }
}
