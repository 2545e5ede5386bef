//! Reading values that TOML has no type of its own for.
//!
//! The messages never repeat the value: it may be a secret in the wrong place.

use std::net::SocketAddr;

use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer};

/// Reads an enum from its name alone. figment would also take a number, as the index of a variant.
pub(super) fn name<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

/// Reads the address of a listener.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = text.strip_prefix("localhost:").map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
    text.parse()
        .map_err(|_| D::Error::custom("expected an IP address and a port, such as \"127.0.0.1:8780\" or \"[::]:8780\""))
}
