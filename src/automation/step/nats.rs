//! `do = "nats"`: publishes to the stream of `[webhooks.nats]`, as JSON, and waits until it is stored there. Gives the `sequence`.
//!
//! A message of which it is not known whether it is there is published again under the same id, by which `JetStream` drops what comes
//! twice within two minutes.

use std::collections::BTreeMap;

use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Failure, Of, Reading};
use crate::automation::template::Template;
use crate::nats::Target;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Nats {
    pub(super) message: Template,
    target: Target,
    connected: Mutex<Option<Context>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// What follows `SUBJECT.ACCOUNT.` in the subject.
    subject: String,
    body: Value,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Nats> {
    let keys: Keys = reading.keys(own)?;
    let webhooks = reading.ground.config.webhooks.as_ref();
    let Some(nats) = webhooks.and_then(|webhooks| webhooks.nats.as_ref()) else {
        let remedy = "add a section [webhooks.nats] with url";
        reading.wrong(&["do"], "there is no NATS server to publish to", remedy);
        return None;
    };
    if keys.subject.trim().is_empty() {
        reading.wrong(&["subject"], "empty", "write e.g. subject = \"orders.asked\"");
    }
    Some(Nats {
        message: reading.template(&[], &json!({"subject": keys.subject, "body": keys.body})),
        target: Target::new(nats),
        connected: Mutex::default(),
    })
}

impl Nats {
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>) -> Result<Value, Failure> {
        let context = self.context().await?;
        let subject = self.target.subject_of(of.account, input["subject"].as_str());
        let message = PublishMessage::build()
            .message_id(format!("{}/{}-{}", of.account, of.run_id, of.position))
            .payload(input["body"].to_string().into());
        let published = async {
            let sent = context.send_publish(subject, message).await?;
            sent.await
        };
        match published.await {
            Ok(stored) => Ok(json!({"sequence": stored.sequence})),
            Err(error) => {
                *self.connected.lock().await = None;
                Err(Failure::passing(self.target.failed(&error).to_string()))
            }
        }
    }

    async fn context(&self) -> Result<Context, Failure> {
        let mut connected = self.connected.lock().await;
        if let Some(context) = &*connected {
            return Ok(context.clone());
        }
        let context = self.target.connect().await.map_err(|error| Failure {
            unsure: false,
            ..Failure::passing(error.to_string())
        })?;
        Ok(connected.insert(context).clone())
    }
}
