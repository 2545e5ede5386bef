//! Reading values that TOML has no type of its own for.
//!
//! The messages never repeat the value: it may be a secret in the wrong place.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::de::{Error, IntoDeserializer, Visitor};
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
    parsed(
        deserializer,
        "an IP address and a port, such as \"127.0.0.1:8780\" or \"[::]:8780\"",
    )
}

/// Reads a string that spells a `T`; any other is "expected {expected}".
pub(super) fn parsed<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
{
    let text = text(deserializer, expected)?;
    text.parse()
        .map_err(|_| D::Error::custom(format_args!("expected {expected}")))
}

/// Reads a string; any other type is "expected {expected}".
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str) -> Result<String, D::Error> {
    deserializer.deserialize_str(Text(expected))
}

struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}
