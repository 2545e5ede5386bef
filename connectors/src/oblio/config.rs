//! The keys of an Oblio connector in the configuration.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::SYSTEM;
use crate::error::Error;
use crate::settings;

/// Which Oblio account, and what of it counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OblioConfig {
    /// The e-mail address of the account.
    pub client_id: String,
    /// The account's API secret, in Oblio under Setari > Date Cont; another one after each change of the password.
    pub client_secret: SecretString,
    /// The company's fiscal code, as Oblio has it.
    #[serde(deserialize_with = "settings::cif")]
    pub cif: String,
    /// The place of work ("punct de lucru") whose stock and prices count. Default: all.
    #[serde(default)]
    pub workstation: Option<String>,
    /// The warehouse ("gestiune") whose stock and prices count. Default: all.
    #[serde(default)]
    pub management: Option<String>,
    /// Where the API is.
    #[serde(default = "url")]
    pub url: Url,
    /// How long one request may take, e.g. `"10s"`; a call, with all that it repeats, three times that.
    #[serde(default = "settings::ten_seconds", deserialize_with = "settings::duration")]
    pub timeout: Duration,
}

fn url() -> Url {
    Url::parse("https://www.oblio.eu/api").expect("a URL")
}

impl OblioConfig {
    /// Whether the values can be used at all.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let refused = |field: &str, message: &str| {
            Err(Error::Rejected {
                system: SYSTEM,
                field: Some(field.to_owned()),
                message: message.to_owned(),
            })
        };
        if self.client_id.is_empty() {
            return refused("client_id", "it is empty");
        }
        if self.client_secret.expose_secret().is_empty() {
            return refused("client_secret", "it is empty");
        }
        if !settings::is_cif(&self.cif) {
            return refused("cif", "it is not a fiscal code, such as RO12345678");
        }
        for (key, name) in [("workstation", &self.workstation), ("management", &self.management)] {
            if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
                return refused(key, "it is empty; leave it out for all");
            }
        }
        if self.timeout.is_zero() {
            return refused("timeout", "it is zero");
        }
        Ok(())
    }

    /// Whether what is in a warehouse of a place of work counts.
    pub(super) fn counts(&self, workstation: Option<&str>, management: Option<&str>) -> bool {
        let is = |wanted: &Option<String>, told: Option<&str>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| told.is_some_and(|told| told.trim() == wanted.trim()))
        };
        is(&self.workstation, workstation) && is(&self.management, management)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(key: &str, value: Value) -> Result<OblioConfig, serde_json::Error> {
        let mut config = json!({"client_id": "a@firma.ro", "client_secret": "very-secret", "cif": "RO12345678"});
        config[key] = value;
        serde_json::from_value(config)
    }

    #[test]
    fn what_is_not_named_has_a_sensible_value_and_the_secret_is_not_shown() {
        let config = with("timeout", json!("5s")).unwrap();
        config.validate().unwrap();
        assert_eq!(config.url.as_str(), "https://www.oblio.eu/api");
        assert!(config.counts(None, None) && config.counts(Some("Sediu"), Some("Magazin")));
        assert!(!format!("{config:?}").contains("very-secret"));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (key, value) in [
            ("client_id", json!("")),
            ("client_secret", json!("")),
            ("cif", json!("&x=2")),
            ("workstation", json!(" ")),
            ("management", json!("")),
            ("timeout", json!("0s")),
        ] {
            match with(key, value).unwrap().validate() {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key)),
                other => panic!("{key}: {other:?}"),
            }
        }
        assert!(with("secret", json!("x")).is_err());
    }

    #[test]
    fn only_the_named_places_count() {
        let one = with("management", json!("Magazin")).unwrap();
        assert!(one.counts(Some("Sediu"), Some(" Magazin ")));
        assert!(!one.counts(Some("Sediu"), Some("Depozit")) && !one.counts(Some("Sediu"), None));
    }
}
