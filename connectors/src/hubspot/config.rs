//! The keys of a HubSpot connector in the configuration.

use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::rejected;
use crate::error::Error;
use crate::settings;

/// Which HubSpot account, and how it is used.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubspotConfig {
    /// The access token of a private app, or a service key.
    pub token: SecretString,
    /// The property of contacts that holds our reference; it must have been created with unique values. Default: none.
    #[serde(default)]
    pub contact_reference: Option<String>,
    /// The property of deals that holds our reference; it must have been created with unique values. Default: none.
    #[serde(default)]
    pub lead_reference: Option<String>,
    /// The id of the pipeline of new deals that name none. Default: the account's.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// The id of the stage of new deals that name none, e.g. `appointmentscheduled`.
    #[serde(default)]
    pub deal_stage: Option<String>,
    /// The plan's limit of requests in 10 s: 100, or 190 on Professional and Enterprise.
    #[serde(default = "requests_per_10s")]
    pub requests_per_10s: NonZeroU32,
    /// Where the API is.
    #[serde(default = "url")]
    pub url: Url,
    /// How long one request may take, e.g. `"10s"`; a call, with all that it repeats, three times that.
    #[serde(default = "settings::ten_seconds", deserialize_with = "settings::duration")]
    pub timeout: Duration,
}

fn url() -> Url {
    Url::parse("https://api.hubapi.com").expect("a URL")
}

const fn requests_per_10s() -> NonZeroU32 {
    NonZeroU32::new(100).expect("not zero")
}

/// The most that HubSpot sells for one app: 250 in 10 s.
const MOST: u32 = 250;

impl HubspotConfig {
    /// Whether the values can be used at all.
    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.token.expose_secret().trim().is_empty() {
            return Err(rejected("token", "it is empty"));
        }
        for (key, name) in [
            ("contact_reference", &self.contact_reference),
            ("lead_reference", &self.lead_reference),
        ] {
            let is_name = |name: &String| {
                (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            if name.as_ref().is_some_and(|name| !is_name(name)) {
                return Err(rejected(
                    key,
                    "it is not the internal name of a property: letters, digits and _",
                ));
            }
        }
        for (key, id) in [("pipeline", &self.pipeline), ("deal_stage", &self.deal_stage)] {
            if id.as_ref().is_some_and(|id| id.trim().is_empty()) {
                return Err(rejected(key, "it is empty; leave it out"));
            }
        }
        if self.requests_per_10s.get() > MOST {
            return Err(rejected(
                "requests_per_10s",
                format!("HubSpot allows no app more than {MOST}"),
            ));
        }
        if self.timeout.is_zero() {
            return Err(rejected("timeout", "it is zero"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(key: &str, value: Value) -> Result<HubspotConfig, serde_json::Error> {
        let mut config = json!({"token": "pat-very-secret"});
        config[key] = value;
        serde_json::from_value(config)
    }

    #[test]
    fn what_is_not_named_has_a_sensible_value_and_the_token_is_not_shown() {
        let config = with("timeout", json!("5s")).unwrap();
        config.validate().unwrap();
        assert_eq!(config.url.as_str(), "https://api.hubapi.com/");
        assert_eq!(config.requests_per_10s.get(), 100, "what every plan allows");
        assert!(!format!("{config:?}").contains("very-secret"));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (key, value) in [
            ("token", json!(" ")),
            ("contact_reference", json!("a-b")),
            ("lead_reference", json!("")),
            ("pipeline", json!(" ")),
            ("deal_stage", json!("")),
            ("requests_per_10s", json!(1_900)),
            ("timeout", json!("0s")),
        ] {
            match with(key, value).unwrap().validate() {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key)),
                other => panic!("{key}: {other:?}"),
            }
        }
        assert!(with("requests_per_10s", json!(0)).is_err());
        assert!(with("api_key", json!("x")).is_err());
    }
}
