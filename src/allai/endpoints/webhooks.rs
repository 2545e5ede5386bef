//! `/webhooks`: where the API sends its events.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use crate::allai::call::Call;
use crate::allai::client::single;
use crate::allai::model::{Json, Members};
use crate::allai::{Client, Error};

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

/// A registered webhook.
#[derive(Clone)]
pub struct Webhook {
    /// The server's id, if it gives one.
    pub id: Option<String>,
    /// The whole answer of the API, which may hold the secret.
    pub raw: Json,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).finish_non_exhaustive()
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
        #[derive(Serialize)]
        struct Body<'a> {
            url: &'a str,
            events: &'a [String],
            secret: &'a str,
        }
        let body = Body {
            url: new.url.as_str(),
            events: &new.events,
            secret: new.secret.expose_secret(),
        };
        self.execute(&Call::create(&["webhooks"], &body), |body| {
            let raw = single(body, "webhook")?;
            let id = Members::parse(&raw).and_then(|mut members| members.id().ok());
            Ok(Webhook { id, raw })
        })
        .await
    }
}
