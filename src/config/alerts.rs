//! `[alerts]`: who is told when something needs a person.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::issue::Report;
use super::mail::{Mail, is_mailbox};
use super::secret::Secret;
use super::{KeyPath, duration, words};

/// Whoever wants to know sooner would hear of every run that takes a little longer.
const SHORTEST_STALE: Duration = Duration::from_mins(1);

/// Who is told, once per incident, when something needs a person, and when it is over.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// A resource is stale when no run of it was complete for so long, beside the time its schedule leaves between two.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub stale_after: Duration,
    /// A job keeps failing when so many runs in a row have failed; at least 1.
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// Posts to an address; absent: to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<AlertWebhook>,
    /// Sends mail; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<AlertMail>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            stale_after: Duration::from_hours(2),
            failures: 3,
            webhook: None,
            mail: None,
        }
    }
}

/// An address that alerts are posted to.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertWebhook {
    /// The address; a secret, since whoever knows it can post there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// A file that holds the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// What is posted: the incident as `json`, or a message as `slack` and its kin take it.
    #[serde(deserialize_with = "words::name")]
    pub format: WebhookFormat,
}

/// What is posted to a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// The incident, as a JSON object.
    #[default]
    Json,
    /// `{"text": …}`, which Slack, Mattermost, Rocket.Chat and Google Chat take.
    Slack,
}

/// Mail that alerts are sent by. `server` and `from` are those of `[mail]`, if it does not say others.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertMail {
    /// The server: `smtps://USER:PASSWORD@HOST` (TLS from the start, port 465), `smtp://USER:PASSWORD@HOST:587?tls=required`
    /// (STARTTLS), or `smtp://localhost:25`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Secret>,
    /// A file that holds the server's URL, if it holds a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_file: Option<PathBuf>,
    /// The sender, such as `allai-sync <sync@example.com>`.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
}

impl Alerts {
    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
        if self.failures == 0 {
            report.wrong(&at.join("failures"), "not at least 1", "write e.g. failures = 3");
        }
        if self.stale_after < SHORTEST_STALE {
            report.wrong(
                &at.join("stale_after"),
                "must be at least 1m",
                "write e.g. stale_after = \"2h\"",
            );
        }
        if let Some(webhook) = &self.webhook {
            webhook.validate(&at.join("webhook"), report);
        }
        if let Some(mail) = &self.mail {
            mail.validate(&at.join("mail"), report);
        }
    }
}

impl AlertWebhook {
    fn validate(&self, at: &KeyPath, report: &mut Report) {
        let key = at.join("url");
        let Some(url) = &self.url else {
            return report.missing(&key, "missing", "add `url = \"https://…\"` or `url_file = \"PATH\"`");
        };
        if !Url::parse(url.expose()).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
            report.wrong(
                &key,
                "not an address to post to",
                "write e.g. url = \"https://hooks.example.com/…\"",
            );
        }
    }
}

impl AlertMail {
    /// What it does not say is as `[mail]` says it.
    pub(super) fn inherit(&mut self, mail: &Mail) {
        if self.server.is_none() {
            self.server.clone_from(&mail.server);
        }
        if self.from.is_empty() {
            self.from.clone_from(&mail.from);
        }
    }

    fn validate(&self, at: &KeyPath, report: &mut Report) {
        let sender = Mail {
            server: self.server.clone(),
            from: self.from.clone(),
            ..Mail::default()
        };
        sender.validate(at, report);
        if self.to.is_empty() || !self.to.iter().all(|to| is_mailbox(to)) {
            report.wrong(
                &at.join("to"),
                "not a list of mail addresses",
                "write e.g. to = [\"you@example.com\"]",
            );
        }
    }
}
