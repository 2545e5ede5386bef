//! `/webhooks`: registering, and the list that the dashboard shows.

use std::sync::Arc;

use serde_json::Value;
use url::{Host, Url};

use super::{Call, Failure, Reply, query};
use crate::sandbox::account::{Members, scramble, text, time};
use crate::sandbox::render;
use crate::sandbox::webhooks::{EVENTS, Webhook};

impl Call<'_> {
    pub(super) fn webhooks(&mut self) -> Reply {
        let rows: Vec<Members> = self.state.hooks.iter().map(|hook| self.webhook_members(hook)).collect();
        let total = rows.len();
        let span = query::Span {
            offset: 0,
            limit: total.max(1),
        };
        self.list("webhooks", rows, total, span)
    }

    pub(super) fn new_webhook(&mut self) -> Result<Reply, Failure> {
        let object = self.object()?;
        let url = query::required(&object, "url")?;
        let url = Url::parse(&url).map_err(|error| Failure::invalid(&format!("`url` is not a valid URL: {error}")))?;
        if !acceptable(&url) {
            return Err(Failure::invalid(
                "`url` must be https (http is accepted for loopback addresses)",
            ));
        }
        let Some(Value::Array(events)) = object.get("events") else {
            return Err(Failure::invalid("`events` must be an array of event names"));
        };
        let mut wanted = Vec::new();
        for event in events {
            match EVENTS.iter().find(|known| event.as_str() == Some(known)) {
                Some(known) => wanted.push(*known),
                None => {
                    return Err(Failure::invalid(&format!(
                        "unknown event {event}; known are {}",
                        EVENTS.join(", ")
                    )));
                }
            }
        }
        if wanted.is_empty() {
            return Err(Failure::invalid("`events` must name one event at least"));
        }
        let secret = query::required(&object, "secret")?;
        let number = self.state.hooks.len() as u64 + 1;
        let hook = Arc::new(Webhook {
            id: format!("wh_{:016x}", scramble(number ^ self.state.options.seed)),
            url,
            events: wanted,
            secret: secret.into(),
            created: Some(self.now),
        });
        self.state.hooks.push(Arc::clone(&hook));
        let members = self.webhook_members(&hook);
        Ok(Reply::created(render::object(
            members,
            "webhook",
            &[],
            &self.state.options.shape,
            self.rng,
        )))
    }

    fn webhook_members(&self, hook: &Webhook) -> Members {
        let mut members = Members::default();
        members.push("id", text(&hook.id));
        members.push("url", text(hook.url.as_str()));
        members.push("events", Value::from(hook.events.clone()).to_string());
        members.push("active", "true".to_owned());
        if let Some(created) = hook.created {
            members.push("created_at", time(created, self.state.account.time_format()));
        }
        members
    }
}

fn acceptable(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}
