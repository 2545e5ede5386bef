//! The keys of an Odoo connector in the configuration.

use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::SYSTEM;
use crate::error::Error;
use crate::settings::{Company, duration, ten_seconds};

/// How to reach an Odoo database, and what of it counts.
///
/// With `api_key` alone it is asked by JSON-2, which Odoo has from 19 on; with `username` and `password` by JSON-RPC, which it
/// has up to 21. From 14 on an API key may stand for the password there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OdooConfig {
    /// The server, e.g. `https://example.odoo.com`.
    pub url: Url,
    /// The name of the database. Needed with a password; with an API key only where one host name has several.
    #[serde(default)]
    pub database: Option<String>,
    /// The user's login, who needs to read products and stock, and to read, create and change partners and leads.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password, or (from 14 on) an API key of theirs.
    #[serde(default)]
    pub password: Option<SecretString>,
    /// The user's API key, from 19 on.
    #[serde(default)]
    pub api_key: Option<SecretString>,
    /// The company that counts. Default: for stock and prices the user's, for contacts and leads all that the user may see.
    #[serde(default)]
    pub company: Option<Company>,
    /// Codes or names of the warehouses that count. Default: all.
    #[serde(default)]
    pub warehouses: Vec<String>,
    /// The pricelist for questions that name none. Default: the products' sales prices.
    #[serde(default)]
    pub price_list: Option<String>,
    /// The text field of `res.partner` that holds our reference.
    #[serde(default = "contact_reference")]
    pub contact_reference: String,
    /// The text field of `crm.lead` that holds our reference.
    #[serde(default = "lead_reference")]
    pub lead_reference: String,
    /// How long one request may take, e.g. `"10s"`; a call, with all that it repeats, three times that.
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether the password may travel over plain `http://` to a host outside the own network.
    #[serde(default)]
    pub allow_http: bool,
}

/// How one is known to the server.
#[derive(Debug)]
pub(super) enum Credentials {
    /// By JSON-RPC.
    Password {
        database: String,
        username: String,
        password: SecretString,
    },
    /// By JSON-2; the whole `Authorization`, and the database.
    ApiKey {
        bearer: HeaderValue,
        database: Option<HeaderValue>,
    },
}

fn contact_reference() -> String {
    "ref".to_owned()
}

fn lead_reference() -> String {
    "referred".to_owned()
}

impl OdooConfig {
    /// The credentials, if they and the other values can be used at all.
    pub(super) fn credentials(&self) -> Result<Credentials, Error> {
        let refused = |field: &str, message: &str| Error::Rejected {
            system: SYSTEM,
            field: Some(field.to_owned()),
            message: message.to_owned(),
        };
        if self.timeout.is_zero() {
            return Err(refused("timeout", "it is zero"));
        }
        if self.database.as_deref() == Some("") {
            return Err(refused("database", "it is not the name of a database"));
        }
        let present =
            |secret: &Option<SecretString>| secret.clone().filter(|secret| !secret.expose_secret().is_empty());
        if let Some(key) = &self.api_key {
            if self.username.is_some() || self.password.is_some() {
                return Err(refused(
                    "api_key",
                    "give it alone (Odoo 19 and later), or username and password, which may be an API key (Odoo 14 to 18)",
                ));
            }
            let header = |field: &str, text: &str| {
                HeaderValue::try_from(text).map_err(|_| refused(field, "it holds what no HTTP header can"))
            };
            if key.expose_secret().trim().is_empty() {
                return Err(refused("api_key", "it is empty"));
            }
            let mut bearer = header("api_key", &format!("bearer {}", key.expose_secret().trim()))?;
            bearer.set_sensitive(true);
            let database = self
                .database
                .as_ref()
                .map(|name| header("database", name))
                .transpose()?;
            return Ok(Credentials::ApiKey { bearer, database });
        }
        let username = self.username.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
            refused(
                "username",
                "it is missing: give username and password, or for Odoo 19 and later api_key",
            )
        })?;
        let password = present(&self.password).ok_or_else(|| refused("password", "it is missing or empty"))?;
        let database = self
            .database
            .clone()
            .ok_or_else(|| refused("database", "it is missing; with username and password it is needed"))?;
        Ok(Credentials::Password {
            database,
            username,
            password,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(keys: &Value) -> Result<OdooConfig, serde_json::Error> {
        let mut config = json!({"url": "http://127.0.0.1:8069"});
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        serde_json::from_value(config)
    }

    fn refused(keys: &Value) -> Option<String> {
        match config(keys).unwrap().credentials() {
            Err(Error::Rejected { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_named_has_a_sensible_value() {
        let config = config(&json!({"database": "erp", "username": "sync", "password": "very-secret"})).unwrap();
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert_eq!(config.contact_reference, "ref");
        assert_eq!(config.lead_reference, "referred");
        assert!(config.warehouses.is_empty() && !config.allow_http);
        assert!(!format!("{config:?}").contains("very-secret"));
        assert!(matches!(config.credentials().unwrap(), Credentials::Password { .. }));
    }

    #[test]
    fn an_api_key_stands_alone_and_is_not_shown() {
        let config = config(&json!({"api_key": "very-secret", "company": 2})).unwrap();
        assert_eq!(config.company, Some(Company::Id(2)));
        let credentials = config.credentials().unwrap();
        assert!(matches!(credentials, Credentials::ApiKey { database: None, .. }));
        assert!(!format!("{config:?} {credentials:?}").contains("very-secret"));
        assert_eq!(
            refused(&json!({"api_key": "k", "username": "u"})).as_deref(),
            Some("api_key")
        );
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        let whole = json!({"database": "erp", "username": "sync", "password": "p"});
        for (key, value) in [
            ("database", json!(null)),
            ("database", json!("")),
            ("username", json!(null)),
            ("username", json!("")),
            ("password", json!(null)),
            ("password", json!("")),
            ("timeout", json!("0s")),
        ] {
            let mut keys = whole.clone();
            keys[key] = value;
            assert_eq!(refused(&keys).as_deref(), Some(key));
        }
        for key in ["", " ", "a\nb"] {
            assert_eq!(refused(&json!({"api_key": key})).as_deref(), Some("api_key"), "{key:?}");
        }
        assert!(config(&json!({"pasword": "x"})).is_err());
    }
}
