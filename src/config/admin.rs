//! `[admin]`: the private listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::secret::{Secret, validate_header};
use super::{KeyPath, duration, words};

/// The private listener: health, metrics, status page, API.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address and port to listen on.
    #[serde(deserialize_with = "words::listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The bearer token for calls that change something. Without one, only read-only pages, only on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A file that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// How long the session tokens are valid at most that `POST /api/v1/session-token` hands out, and are if nothing else
    /// is asked for.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub session_token_max: Duration,
    /// How many session tokens a minute are handed out, and at once after a pause, 1 to 60000.
    #[schemars(range(min = 1, max = 60_000))]
    pub session_tokens_per_minute: u32,
}

/// The API counts in whole seconds.
const SHORTEST_SESSION: Duration = Duration::from_secs(1);
const LONGEST_SESSION: Duration = Duration::from_hours(30 * 24);

/// Fewer characters can be guessed from outside, sooner or later.
const SHORT_TOKEN: usize = 16;

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8781).into(),
            token: None,
            token_file: None,
            session_token_max: Duration::from_hours(1),
            session_tokens_per_minute: 60,
        }
    }
}

impl Admin {
    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
        if !(SHORTEST_SESSION..=LONGEST_SESSION).contains(&self.session_token_max) {
            report.wrong(
                &at.join("session_token_max"),
                "must be from 1s to 30d",
                "e.g. `session_token_max = \"1h\"`",
            );
        }
        if !(1..=60_000).contains(&self.session_tokens_per_minute) {
            report.wrong(
                &at.join("session_tokens_per_minute"),
                "must be from 1 to 60000",
                "e.g. `session_tokens_per_minute = 60`",
            );
        }
        let key = at.join("token");
        match &self.token {
            Some(token) => {
                validate_header(token, &key, report);
                if !self.listen.ip().is_loopback() && token.expose().len() < SHORT_TOKEN {
                    report.warn(format!(
                        "{key} is short, and admin.listen can be reached from elsewhere: whoever guesses it can start runs; make one \
                         with `openssl rand -hex 16`"
                    ));
                }
            }
            None if self.listen.ip().is_loopback() => {}
            None => report.missing(
                &key,
                "missing, and `listen` is not an address of this machine alone",
                "add `token = \"…\"` or `token_file = \"PATH\"`, or listen on 127.0.0.1",
            ),
        }
    }
}
