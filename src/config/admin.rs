//! `[admin]`: the private listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::secret::{Secret, validate_header};
use super::{KeyPath, words};

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
}

/// Fewer characters can be guessed from outside, sooner or later.
const SHORT_TOKEN: usize = 16;

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8781).into(),
            token: None,
            token_file: None,
        }
    }
}

impl Admin {
    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
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
