//! `[mail]`: the company's mail server.

use std::path::PathBuf;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyPath;
use super::issue::Report;
use super::secret::Secret;

/// The mail server that alerts and automations send by.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The server: `smtps://USER:PASSWORD@HOST` (TLS from the start, port 465), `smtp://USER:PASSWORD@HOST:587?tls=required`
    /// (STARTTLS), or `smtp://localhost:25`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Secret>,
    /// A file that holds the server's URL, if it holds a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_file: Option<PathBuf>,
    /// The sender, such as `allai-sync <sync@example.com>`.
    pub from: String,
}

impl Mail {
    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
        let key = at.join("server");
        match &self.server {
            None => report.missing(
                &key,
                "missing",
                "add `server = \"smtps://USER:PASSWORD@HOST\"` or `server_file = \"PATH\"`",
            ),
            Some(server) if crate::mail::server(server.expose()).is_err() => report.wrong(
                &key,
                "not the URL of a mail server",
                "write e.g. server = \"smtps://USER:PASSWORD@HOST\", with % and two digits for what is special in a password",
            ),
            Some(_) => {}
        }
        if !is_mailbox(&self.from) {
            report.wrong(
                &at.join("from"),
                "not a mail address",
                "write e.g. from = \"sync@example.com\"",
            );
        }
    }
}

/// Whether a text is an address that mail can be sent to or from.
pub(super) fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}
