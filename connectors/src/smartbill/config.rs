//! The keys of a SmartBill connector in the configuration.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::SYSTEM;
use crate::error::Error;
use crate::settings;

/// Which SmartBill account, and what of it counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmartbillConfig {
    /// The e-mail address of the account.
    pub username: String,
    /// The account's API token, in SmartBill under Contul meu > Integrari.
    pub token: SecretString,
    /// The company's fiscal code, as SmartBill has it.
    #[serde(deserialize_with = "settings::cif")]
    pub cif: String,
    /// Names of the warehouses that count. Default: all.
    #[serde(default)]
    pub warehouses: Vec<String>,
    /// Where the API is.
    #[serde(default = "url")]
    pub url: Url,
    /// How long one request may take, e.g. `"10s"`; a call, with all that it repeats, three times that.
    #[serde(default = "settings::ten_seconds", deserialize_with = "settings::duration")]
    pub timeout: Duration,
}

fn url() -> Url {
    Url::parse("https://ws.smartbill.ro/SBORO/api").expect("a URL")
}

impl SmartbillConfig {
    /// Whether the values can be used at all.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let refused = |field: &str, message: &str| {
            Err(Error::Rejected {
                system: SYSTEM,
                field: Some(field.to_owned()),
                message: message.to_owned(),
            })
        };
        if self.username.is_empty() || self.username.contains(':') {
            return refused("username", "it is not an e-mail address");
        }
        if self.token.expose_secret().is_empty() {
            return refused("token", "it is empty");
        }
        if !settings::is_cif(&self.cif) {
            return refused("cif", "it is not a fiscal code, such as RO12345678");
        }
        if self.warehouses.iter().any(|name| name.trim().is_empty()) {
            return refused("warehouses", "one of the names is empty");
        }
        if self.timeout.is_zero() {
            return refused("timeout", "it is zero");
        }
        Ok(())
    }

    /// Whether what is in a warehouse counts.
    pub(super) fn counts(&self, warehouse: Option<&str>) -> bool {
        match &self.warehouses[..] {
            [] => true,
            // It was asked for, so what comes without a name is of it.
            [only] => warehouse.is_none_or(|name| name == only.trim()),
            several => warehouse.is_some_and(|name| several.iter().any(|one| one.trim() == name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(key: &str, value: Value) -> Result<SmartbillConfig, serde_json::Error> {
        let mut config = json!({"username": "a@firma.ro", "token": "very-secret", "cif": "RO12345678"});
        config[key] = value;
        serde_json::from_value(config)
    }

    #[test]
    fn what_is_not_named_has_a_sensible_value_and_the_token_is_not_shown() {
        let config = with("cif", json!(12_345_678)).unwrap();
        config.validate().unwrap();
        assert_eq!(config.cif, "12345678");
        assert_eq!(config.url.as_str(), "https://ws.smartbill.ro/SBORO/api");
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert!(config.warehouses.is_empty());
        assert!(!format!("{config:?}").contains("very-secret"));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (key, value) in [
            ("username", json!("")),
            ("username", json!("a:b@firma.ro")),
            ("token", json!("")),
            ("cif", json!("")),
            ("cif", json!("RO 1&x=2")),
            ("warehouses", json!(["A", " "])),
            ("timeout", json!("0s")),
        ] {
            match with(key, value).unwrap().validate() {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key)),
                other => panic!("{key}: {other:?}"),
            }
        }
        assert!(with("tokn", json!("x")).is_err());
        assert!(with("timeout", json!("10")).is_err());
    }

    #[test]
    fn only_the_named_warehouses_count() {
        let several = with("warehouses", json!(["A", "B"])).unwrap();
        assert!(several.counts(Some("B")) && !several.counts(Some("C")) && !several.counts(None));
        let one = with("warehouses", json!(["A"])).unwrap();
        assert!(one.counts(Some("A")) && one.counts(None) && !one.counts(Some("a")));
    }
}
