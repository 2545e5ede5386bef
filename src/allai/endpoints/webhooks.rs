//! `/webhooks`: where the API sends its events.
//!
//! The guide has `POST /webhooks` alone. The others are what an API of this kind usually has; [`Error::is_not_offered`]
//! tells that this one has not.

use std::collections::HashSet;
use std::fmt;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::value::RawValue;
use url::Url;

use crate::allai::call::Call;
use crate::allai::client::single;
use crate::allai::model::{Json, Members};
use crate::allai::page::Page;
use crate::allai::{Client, Error};

/// More pages than any list of webhooks has.
const PAGES: usize = 50;

/// A webhook to register.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where events are to be sent.
    pub url: Url,
    /// Which events, e.g. `lead.created`.
    pub events: Vec<String>,
    /// What they are to be signed with; see [`signature`](crate::allai::signature).
    pub secret: SecretString,
}

/// What a webhook is to become.
#[derive(Clone, Debug)]
pub struct WebhookChange {
    /// What it is to be.
    pub webhook: NewWebhook,
    /// Whether it is to be switched on, too; needed only where it is off.
    pub activate: bool,
}

/// A registered webhook.
#[derive(Clone)]
pub struct Webhook {
    /// The server's id, if it gives one.
    pub id: Option<String>,
    /// Where events are sent, if the server says so.
    pub url: Option<String>,
    /// Which events, if the server says so.
    pub events: Option<Vec<String>>,
    /// Whether it is switched on, if the server says so.
    pub active: Option<bool>,
    /// The whole answer of the API, which may hold the secret.
    pub raw: Json,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    url: &'a str,
    events: &'a [String],
    secret: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    active: bool,
}

impl<'a> Body<'a> {
    fn of(webhook: &'a NewWebhook, activate: bool) -> Self {
        Self {
            url: webhook.url.as_str(),
            events: &webhook.events,
            secret: webhook.secret.expose_secret(),
            active: activate,
        }
    }
}

impl Webhook {
    fn read(raw: Json) -> Self {
        let Some(mut members) = Members::parse(&raw) else {
            return Self {
                id: None,
                url: None,
                events: None,
                active: None,
                raw,
            };
        };
        Self {
            id: members.id().ok(),
            url: members.text("url"),
            events: members.get("events").and_then(events),
            active: ["active", "enabled", "is_active"]
                .into_iter()
                .filter_map(|name| members.get(name))
                .find_map(|raw| serde_json::from_str(raw.get()).ok()),
            raw,
        }
    }

    /// The answer to a change: the webhook, or nothing at all.
    fn changed(id: &str, body: &[u8]) -> Result<Self, String> {
        if body.trim_ascii().is_empty() {
            let raw = serde_json::value::to_raw_value(&serde_json::json!({ "id": id }));
            return Ok(Self::read(raw.map_err(|error| error.to_string())?));
        }
        single(body, "webhook").map(Self::read)
    }
}

/// The names of events, as a list or with commas in between.
fn events(raw: &RawValue) -> Option<Vec<String>> {
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(names) => Some(names.split(',').map(|name| name.trim().to_owned()).collect()),
        serde_json::Value::Array(names) => names.iter().map(|name| Some(name.as_str()?.to_owned())).collect(),
        _ => None,
    }
}

impl Client {
    /// `POST /webhooks`: registers an address for events. Repeated only when it is certain that the server did not act
    /// on it.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::NewWebhook;
    ///
    /// let webhook = client.create_webhook(&NewWebhook {
    ///     url: "https://api.your-site.com/webhooks/allai/main".parse()?,
    ///     events: vec!["conversation.ended".into(), "lead.created".into()],
    ///     secret: "webhook_secret_for_verification".into(),
    /// }).await?;
    /// assert!(webhook.id.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, Error> {
        let call = Call::create(&["webhooks"], &Body::of(new, false)).keeping(&new.secret);
        self.execute(&call, |body| {
            // The guide shows no answer.
            let said = if body.trim_ascii().is_empty() { b"{}" } else { body };
            single(said, "webhook").map(Webhook::read)
        })
        .await
    }

    /// `GET /webhooks`: all that are registered, whether the API lists them at once or in pages. Not in the guide.
    ///
    /// ```
    /// # use allai_sync::allai::{Client, NewWebhook};
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # client.create_webhook(&NewWebhook {
    /// #     url: "https://api.your-site.com/webhooks/allai/main".parse()?,
    /// #     events: vec!["lead.created".into()],
    /// #     secret: "webhook_secret_for_verification".into(),
    /// # }).await?;
    /// match client.webhooks().await {
    ///     Ok(webhooks) => assert_eq!(webhooks[0].events.as_deref(), Some(&["lead.created".to_owned()][..])),
    ///     Err(error) if error.is_not_offered() => println!("only the dashboard knows"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let (mut seen, mut webhooks) = (HashSet::new(), Vec::new());
        for _ in 0..PAGES {
            let offset = webhooks.len();
            let call = Call::get(&["webhooks"]).query([("limit", "100".to_owned()), ("offset", offset.to_string())]);
            let page = self.execute(&call, |body| Page::parse_list("webhooks", body)).await?;
            // A server that does not know of offsets sends the same again.
            let new = page.items.into_iter().filter(|raw| seen.insert(raw.get().to_owned()));
            webhooks.extend(new.map(Webhook::read));
            let is_all = page
                .total
                .is_some_and(|total| u64::try_from(webhooks.len()).is_ok_and(|seen| seen >= total));
            if webhooks.len() == offset || is_all || page.has_more == Some(false) {
                break;
            }
        }
        Ok(webhooks)
    }

    /// `PATCH /webhooks/{id}`: changes a webhook. Not in the guide.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::{NewWebhook, WebhookChange};
    ///
    /// let mut webhook = NewWebhook {
    ///     url: "https://api.your-site.com/webhooks/allai/main".parse()?,
    ///     events: vec!["lead.created".into()],
    ///     secret: "webhook_secret_for_verification".into(),
    /// };
    /// let made = client.create_webhook(&webhook).await?;
    /// webhook.secret = "another_secret".into();
    /// let change = WebhookChange { webhook, activate: false };
    /// let changed = client.update_webhook(&made.id.unwrap_or_default(), &change).await?;
    /// assert_eq!(changed.url.as_deref(), Some("https://api.your-site.com/webhooks/allai/main"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_webhook(&self, id: &str, change: &WebhookChange) -> Result<Webhook, Error> {
        self.change_webhook(Method::PATCH, id, change).await
    }

    /// `PUT /webhooks/{id}`: puts another webhook in the place of one. Not in the guide.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::{NewWebhook, WebhookChange};
    ///
    /// let mut webhook = NewWebhook {
    ///     url: "https://api.your-site.com/webhooks/allai/main".parse()?,
    ///     events: vec!["lead.created".into()],
    ///     secret: "webhook_secret_for_verification".into(),
    /// };
    /// let made = client.create_webhook(&webhook).await?;
    /// webhook.events = vec!["lead.created".into(), "lead.qualified".into()];
    /// let change = WebhookChange { webhook, activate: false };
    /// let changed = client.replace_webhook(&made.id.unwrap_or_default(), &change).await?;
    /// assert_eq!(changed.events.map(|events| events.len()), Some(2));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn replace_webhook(&self, id: &str, change: &WebhookChange) -> Result<Webhook, Error> {
        self.change_webhook(Method::PUT, id, change).await
    }

    async fn change_webhook(&self, method: Method, id: &str, change: &WebhookChange) -> Result<Webhook, Error> {
        let webhook = &change.webhook;
        let body = Body::of(webhook, change.activate);
        let call = Call::change(method, &["webhooks", id], &body).keeping(&webhook.secret);
        self.execute(&call, |body| Webhook::changed(id, body)).await
    }

    /// `DELETE /webhooks/{id}`: removes a webhook. Not in the guide.
    ///
    /// ```
    /// # use allai_sync::allai::{Client, NewWebhook};
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # let made = client.create_webhook(&NewWebhook {
    /// #     url: "https://api.your-site.com/webhooks/allai/main".parse()?,
    /// #     events: vec!["lead.created".into()],
    /// #     secret: "webhook_secret_for_verification".into(),
    /// # }).await?;
    /// client.delete_webhook(&made.id.unwrap_or_default()).await?;
    /// assert!(client.webhooks().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        self.execute(&Call::delete(&["webhooks", id]), |_| Ok(())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_read_whatever_the_server_leaves_out() {
        for (text, id, url, events, active) in [
            (
                r#"{"id":"w1","url":"https://x.ro/a","events":["a.b","c.d"],"active":true}"#,
                Some("w1"),
                Some("https://x.ro/a"),
                Some(2),
                Some(true),
            ),
            (
                r#"{"id":17,"events":"a.b, c.d","enabled":false}"#,
                Some("17"),
                None,
                Some(2),
                Some(false),
            ),
            (
                r#"{"url":null,"events":[{"name":"a.b"}],"active":"yes"}"#,
                None,
                None,
                None,
                None,
            ),
            ("17", None, None, None, None),
        ] {
            let webhook = Webhook::read(RawValue::from_string(text.to_owned()).unwrap());
            assert_eq!((webhook.id.as_deref(), webhook.url.as_deref()), (id, url), "{text}");
            assert_eq!(
                (webhook.events.map(|events| events.len()), webhook.active),
                (events, active),
                "{text}"
            );
        }
        assert_eq!(Webhook::changed("w1", b"").unwrap().id.as_deref(), Some("w1"));
        assert!(Webhook::changed("w1", b"<html>").is_err());
    }
}
