//! `[webhooks]`: the public listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::accounts::is_loopback;
use super::duration;
use super::issue::Report;
use super::nats::Nats;
use super::{Config, KeyPath, words};

/// The public listener that receives AllAI's webhooks.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// The address and port to listen on; put a TLS-terminating proxy before it.
    #[serde(deserialize_with = "words::listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where AllAI reaches the listener: what `allai-sync webhooks register` registers, with `/webhooks/allai/ACCOUNT` at its end.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "public_url")]
    #[schemars(with = "Option<String>")]
    pub public_url: Option<Url>,
    /// The proxies before the listener, as addresses or networks: what they say of their clients in `X-Forwarded-For` is
    /// believed.
    #[serde(deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// How long events that were applied are kept; those that are dead are kept as long as `daemon.keep_journal` says.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub keep_events: Duration,
    /// Where events are passed on to once they are applied; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8780).into(),
            public_url: None,
            trusted_proxies: Vec::new(),
            keep_events: Duration::from_hours(30 * 24),
            nats: None,
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
        if let Some(url) = &self.public_url {
            let key = at.join("public_url");
            match url.scheme() {
                "https" => {}
                "http" if is_loopback(url) => {}
                "http" => report.warn(format!(
                    "{key} is http://: what visitors write would come in the clear, for anybody on the way to read; put a proxy \
                     that speaks TLS before the listener, and write https://"
                )),
                _ => report.wrong(
                    &key,
                    "neither https nor http",
                    "write e.g. public_url = \"https://hooks.example.ro\"",
                ),
            }
        }
        if let Some(nats) = &self.nats {
            nats.validate(&at.join("nats"), report);
        }
        if self.keep_events < Duration::from_hours(1) {
            report.wrong(
                &at.join("keep_events"),
                "shorter than an hour",
                "write e.g. keep_events = \"30d\"; an event that is sent again must be known again",
            );
        }
    }

    /// Where AllAI sends the events of an account; `None` without `public_url`.
    pub fn url_of(&self, account: &str) -> Option<Url> {
        let mut url = self.public_url.clone()?;
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["webhooks", "allai", account]);
        Some(url)
    }
}

fn public_url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let url: Url = words::parsed(deserializer, "a URL such as \"https://hooks.example.ro\"")?;
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() || !url.username().is_empty() {
        return Err(serde::de::Error::custom(
            "the address of a listener has no user, query or fragment",
        ));
    }
    Ok(Some(url))
}

fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let expected = "expected addresses or networks, such as \"127.0.0.1\" or \"10.0.0.0/8\"";
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let text = text.trim();
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
            .map_err(|_| serde::de::Error::custom(expected))
    };
    texts.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_address_is_below_the_public_one() {
        for (public, expected) in [
            (
                "https://hooks.example.ro",
                "https://hooks.example.ro/webhooks/allai/main",
            ),
            (
                "https://hooks.example.ro/",
                "https://hooks.example.ro/webhooks/allai/main",
            ),
            (
                "https://example.ro/sync/",
                "https://example.ro/sync/webhooks/allai/main",
            ),
        ] {
            let webhooks = Webhooks {
                public_url: Some(public.parse().unwrap()),
                ..Webhooks::default()
            };
            assert_eq!(webhooks.url_of("main").unwrap().as_str(), expected);
        }
    }
}
