//! What the administrator configures.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};

use crate::settings;

/// A company's own database, and how to ask it. The module's page says what the queries are given and are to answer.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite:///path/erp.db`, `postgres://user:password@host/database`, or `mysql://` or `mariadb://` with the same.
    /// What the scheme's driver knows can follow: `?sslmode=verify-full&sslrootcert=/path/ca.pem`.
    pub url: SecretString,
    /// Finds the stock of SKUs: a SELECT with `:skus` or `:sku` in it.
    #[serde(default)]
    pub stock_query: Option<String>,
    /// Finds the prices of SKUs: a SELECT with `:skus` or `:sku` in it, and `:quantity` and `:price_list` if it cares.
    #[serde(default)]
    pub price_query: Option<String>,
    /// Finds items by words: a SELECT with `:words` or `:pattern` in it, and `:limit`.
    #[serde(default)]
    pub search_query: Option<String>,
    /// Lists the SKUs there are, piece by piece: a SELECT with `:after` and `:limit` in it.
    #[serde(default)]
    pub catalogue_query: Option<String>,
    /// Whatever else is to be asked, by a name of your choice: a SELECT with parameters of its own.
    #[serde(default)]
    pub queries: BTreeMap<String, String>,
    /// How long a lookup may take, connecting included: `3s`, `500ms`; from 10 ms to 10 minutes.
    #[serde(default = "three_seconds", deserialize_with = "timeout")]
    pub timeout: Duration,
    /// How many rows a query may return.
    #[serde(default = "thousand", deserialize_with = "number")]
    pub max_rows: NonZeroUsize,
    /// How many connections there are at most.
    #[serde(default = "two", deserialize_with = "number")]
    pub connections: NonZeroUsize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("timeout", &self.timeout)
            .field("max_rows", &self.max_rows)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

const fn three_seconds() -> Duration {
    Duration::from_secs(3)
}

const fn thousand() -> NonZeroUsize {
    NonZeroUsize::new(1_000).expect("not zero")
}

const fn two() -> NonZeroUsize {
    NonZeroUsize::new(2).expect("not zero")
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Some(settings::duration(deserializer)?)
        .filter(|duration| (Duration::from_millis(10)..=Duration::from_mins(10)).contains(duration))
        .ok_or_else(|| de::Error::custom("expected a duration from 10ms to 10m"))
}

/// A number, also as a text: in the environment, everything is one.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroUsize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(usize),
        Text(String),
    }

    let number = match Written::deserialize(deserializer)? {
        Written::Number(number) => Some(number),
        Written::Text(text) => text.trim().parse().ok(),
    };
    number
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| de::Error::custom("expected a whole number from 1"))
}
