//! The keys of a Tryton connector in the configuration.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::SYSTEM;
use crate::error::Error;
pub use crate::settings::Company;
use crate::settings::{duration, ten_seconds};

/// How to reach a Tryton database, and what of it counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrytonConfig {
    /// The server, e.g. `https://erp.example.com`.
    pub url: Url,
    /// The name of the database.
    pub database: String,
    /// The user, who needs to read products, stock and parties, and to create parties and opportunities.
    pub username: String,
    /// The user's password.
    pub password: SecretString,
    /// Where the database's RPC is below the URL. Default: `/<database>/rpc/`, and if the server has nothing there (before
    /// 8.0), `/<database>/`.
    #[serde(default)]
    pub rpc_path: Option<String>,
    /// The company whose stock and prices count. Default: the user's.
    #[serde(default)]
    pub company: Option<Company>,
    /// Codes or names of the warehouses that count. Default: all.
    #[serde(default)]
    pub warehouses: Vec<String>,
    /// The price list for questions that name none. Default: the products' list prices.
    #[serde(default)]
    pub price_list: Option<String>,
    /// The text field of `party.party` that holds our reference, e.g. one that an own module adds. Default: none.
    #[serde(default)]
    pub contact_reference: Option<String>,
    /// The text field of `sale.opportunity` that holds our reference.
    #[serde(default = "reference")]
    pub lead_reference: String,
    /// How long one request may take, e.g. `"10s"`; a call, with all that it repeats, three times that.
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether the password may travel over plain `http://` to a host outside the own network.
    #[serde(default)]
    pub allow_http: bool,
}

impl TrytonConfig {
    /// Whether the values can be used at all.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let refused = |field: &str, message: &str| {
            Err(Error::Rejected {
                system: SYSTEM,
                field: Some(field.to_owned()),
                message: message.to_owned(),
            })
        };
        if self.database.is_empty() || self.database.contains('/') || self.database.starts_with('.') {
            return refused("database", "it is not the name of a database");
        }
        if self.username.is_empty() {
            return refused("username", "it is empty");
        }
        if self.password.expose_secret().is_empty() {
            return refused("password", "it is empty");
        }
        if self.timeout.is_zero() {
            return refused("timeout", "it is zero");
        }
        Ok(())
    }
}

fn reference() -> String {
    "reference".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn minimal() -> Value {
        json!({"url": "http://127.0.0.1:8000", "database": "erp", "username": "sync", "password": "very-secret"})
    }

    fn with(key: &str, value: Value) -> Result<TrytonConfig, serde_json::Error> {
        let mut config = minimal();
        config[key] = value;
        serde_json::from_value(config)
    }

    #[test]
    fn what_is_not_named_has_a_sensible_value() {
        let config: TrytonConfig = serde_json::from_value(minimal()).unwrap();
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert_eq!(config.lead_reference, "reference");
        assert!(config.warehouses.is_empty() && !config.allow_http);
        config.validate().unwrap();
    }

    #[test]
    fn companies_are_named_or_numbered_and_durations_have_units() {
        assert_eq!(with("company", json!(2)).unwrap().company, Some(Company::Id(2)));
        let named = with("company", json!("Demo SRL")).unwrap().company;
        assert_eq!(named, Some(Company::Name("Demo SRL".to_owned())));
        assert_eq!(
            with("timeout", json!("250ms")).unwrap().timeout,
            Duration::from_millis(250)
        );
        for bad in [json!("10"), json!(10), json!("s"), json!("-1s")] {
            assert!(with("timeout", bad).is_err());
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_the_password_is_not_shown() {
        assert!(with("pasword", json!("x")).is_err());
        let config: TrytonConfig = serde_json::from_value(minimal()).unwrap();
        assert!(!format!("{config:?}").contains("very-secret"));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (key, value) in [
            ("database", json!("a/b")),
            ("username", json!("")),
            ("password", json!("")),
            ("timeout", json!("0s")),
        ] {
            match with(key, value).unwrap().validate() {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key)),
                other => panic!("{key}: {other:?}"),
            }
        }
    }
}
