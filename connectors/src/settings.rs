//! Keys that several vendors have in common.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A company, by its number or its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Company {
    /// Its number in the database.
    Id(i64),
    /// Its name.
    Name(String),
}

pub(crate) const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// A whole number with its unit (ms, s or m).
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse::<u32>().ok();
    let unit = match &text[digits..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    match (number, unit) {
        (Some(number), Some(unit)) => Ok(Duration::from_millis(u64::from(number) * unit)),
        _ => Err(de::Error::custom(
            "expected a duration with its unit (ms, s or m), such as \"10s\"",
        )),
    }
}

/// A company's fiscal code, which may be written as a number.
pub(crate) fn cif<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(u64),
    }

    Ok(match Written::deserialize(deserializer)? {
        Written::Text(text) => text.trim().to_owned(),
        Written::Number(number) => number.to_string(),
    })
}

/// Whether it can be a fiscal code at all.
pub(crate) fn is_cif(cif: &str) -> bool {
    (2..=20).contains(&cif.len()) && cif.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
