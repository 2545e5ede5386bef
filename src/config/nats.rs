//! `[webhooks.nats]`: passing applied events on.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyPath;
use super::issue::Report;
use super::secret::Secret;

/// A NATS server with `JetStream`, to which events are passed on once they are applied.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// The server: `nats://HOST:4222` or `tls://HOST:4222`, with `USER:PASSWORD@` or `TOKEN@` before the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// A file that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// What subjects begin with: an event goes to `SUBJECT.ACCOUNT.TYPE`, such as `allai.main.lead.created`.
    pub subject: String,
    /// The stream that keeps them; made, with all that begins with `subject`, if there is none of that name.
    pub stream: String,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            subject: "allai".to_owned(),
            stream: "ALLAI".to_owned(),
        }
    }
}

impl Nats {
    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
        let key = at.join("url");
        match &self.url {
            None => report.missing(
                &key,
                "missing",
                "add `url = \"nats://HOST:4222\"` or `url_file = \"PATH\"`, or remove the table to pass nothing on",
            ),
            Some(url) if url.expose().parse::<async_nats::ServerAddr>().is_err() => report.wrong(
                &key,
                "not the URL of a NATS server",
                "write e.g. url = \"nats://USER:PASSWORD@127.0.0.1:4222\"",
            ),
            Some(_) => {}
        }
        let is_token = |token: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            !token.is_empty() && token.chars().all(allowed)
        };
        if !self.subject.split('.').all(is_token) {
            report.wrong(
                &at.join("subject"),
                "not the beginning of a subject",
                "use letters, digits, _ and -, with dots between them; e.g. subject = \"allai\"",
            );
        }
        if !is_token(&self.stream) {
            report.wrong(
                &at.join("stream"),
                "not a name for a stream",
                "use letters, digits, _ and -; e.g. stream = \"ALLAI\"",
            );
        }
    }
}
