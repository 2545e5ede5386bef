//! The keys of a Pipedrive connector in the configuration.

use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::rejected;
use crate::error::Error;
use crate::settings;

/// Which Pipedrive account, and how it is used.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipedriveConfig {
    /// A user's API token, in Pipedrive under Personal preferences > API.
    pub token: SecretString,
    /// What leads are in this account.
    #[serde(default)]
    pub leads_are: LeadsAre,
    /// The custom text field of persons that holds our reference, by its name or its key. Default: none.
    #[serde(default)]
    pub contact_reference: Option<String>,
    /// The custom text field of deals (leads have the same) that holds our reference, by its name or its key. Default: none.
    #[serde(default)]
    pub lead_reference: Option<String>,
    /// The plan's limit of requests in 2 s: Lite 20, Growth 40, Premium 80, Ultimate 120.
    #[serde(default = "requests_per_2s")]
    pub requests_per_2s: NonZeroU32,
    /// How many of the company's daily tokens may be spent from here: of 30,000 times the plan's factor and the seats.
    #[serde(default = "daily_tokens")]
    pub daily_tokens: NonZeroU32,
    /// Where the API is.
    #[serde(default = "url")]
    pub url: Url,
    /// How long one request may take, e.g. `"10s"`; a call, with all that it repeats, three times that.
    #[serde(default = "settings::ten_seconds", deserialize_with = "settings::duration")]
    pub timeout: Duration,
}

/// What leads are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeadsAre {
    /// Those of the leads inbox.
    #[default]
    Leads,
    /// Deals of a pipeline.
    Deals,
}

fn url() -> Url {
    Url::parse("https://api.pipedrive.com").expect("a URL")
}

const fn requests_per_2s() -> NonZeroU32 {
    NonZeroU32::new(20).expect("not zero")
}

const fn daily_tokens() -> NonZeroU32 {
    NonZeroU32::new(30_000).expect("not zero")
}

/// The most that any plan allows a user with an API token, in 2 s.
const MOST: u32 = 120;

impl PipedriveConfig {
    /// Whether the values can be used at all.
    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.token.expose_secret().trim().is_empty() {
            return Err(rejected("token", "it is empty"));
        }
        for (key, name) in [
            ("contact_reference", &self.contact_reference),
            ("lead_reference", &self.lead_reference),
        ] {
            if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
                return Err(rejected(key, "it is empty; leave it out"));
            }
        }
        if self.requests_per_2s.get() > MOST {
            let problem = format!("Pipedrive allows no user more than {MOST}");
            return Err(rejected("requests_per_2s", problem));
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

    fn with(key: &str, value: Value) -> Result<PipedriveConfig, serde_json::Error> {
        let mut config = json!({"token": "very-secret"});
        config[key] = value;
        serde_json::from_value(config)
    }

    #[test]
    fn what_is_not_named_has_a_sensible_value_and_the_token_is_not_shown() {
        let config = with("timeout", json!("5s")).unwrap();
        config.validate().unwrap();
        assert_eq!(config.url.as_str(), "https://api.pipedrive.com/");
        assert_eq!(
            (config.requests_per_2s.get(), config.daily_tokens.get()),
            (20, 30_000),
            "what every plan allows"
        );
        assert_eq!(config.leads_are, LeadsAre::Leads);
        assert!(!format!("{config:?}").contains("very-secret"));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (key, value) in [
            ("token", json!(" ")),
            ("contact_reference", json!(" ")),
            ("lead_reference", json!("")),
            ("requests_per_2s", json!(121)),
            ("timeout", json!("0s")),
        ] {
            match with(key, value).unwrap().validate() {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key)),
                other => panic!("{key}: {other:?}"),
            }
        }
        assert!(with("daily_tokens", json!(0)).is_err());
        assert!(with("leads_are", json!("both")).is_err());
        assert!(with("api_key", json!("x")).is_err());
    }
}
