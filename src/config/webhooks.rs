//! `[webhooks]`: the public listener.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::{Config, KeyPath, words};

/// The public listener that receives AllAI's webhooks.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// The address and port to listen on; put a TLS-terminating proxy before it.
    #[serde(deserialize_with = "words::listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8780).into(),
        }
    }
}

impl Webhooks {
    pub(super) fn validate(&self, at: &KeyPath, config: &Config, report: &mut Report) {
        // Port 0 is a free port each time.
        if self.listen == config.admin.listen && self.listen.port() != 0 {
            report.wrong(
                &at.join("listen"),
                "the same address as admin.listen",
                "give each listener its own port; the private one must not be reachable from outside",
            );
        }
    }
}
