//! Values of vendors whose documentation does not pin their types down: read from the JSON's own text, whatever type they have.
//!
//! A number is read digit by digit, never by way of a float. What is no value of the wanted kind is not known; it is no reason
//! to refuse the rest of the answer.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most digits that a [`Decimal`] surely holds.
const DIGITS: usize = 28;

type Raw = Option<Box<RawValue>>;

/// A text, or a number's digits; `None` if there is none, or only spaces.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Raw::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| text_of(raw.get())))
}

/// A number, also one written as a text; `None` if it is none, or cannot be held exactly.
pub(crate) fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let raw = Raw::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| decimal_of(&text_of(raw.get())?)))
}

/// True or false, also as 1 or 0, or as a text.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let raw = Raw::deserialize(deserializer)?;
    let word = raw.map(|raw| text_of(raw.get()).unwrap_or_else(|| raw.get().to_owned()));
    Ok(match word.as_deref() {
        Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        _ => None,
    })
}

/// The rows of a list, but for those that are not rows; null is an empty list. Some systems write a list as an object, its
/// keys the positions.
pub(crate) fn rows<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let Some(raw) = Raw::deserialize(deserializer)? else {
        return Ok(Some(Vec::new()));
    };
    let raw = raw.get();
    let listed: Option<Vec<Box<RawValue>>> = match raw.as_bytes().first() {
        Some(b'[') => serde_json::from_str(raw).ok(),
        Some(b'{') => serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(raw)
            .ok()
            .map(|rows| rows.into_values().collect()),
        _ => None,
    };
    Ok(listed.map(|listed| {
        let all = listed.len();
        let rows: Vec<T> = listed
            .iter()
            .filter_map(|row| serde_json::from_str(row.get()).ok())
            .collect();
        if rows.len() < all {
            tracing::warn!(rows.unread = all - rows.len(), "some rows are not rows");
        }
        rows
    }))
}

fn text_of(raw: &str) -> Option<String> {
    let text = match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok()?,
        b'-' | b'0'..=b'9' => raw.to_owned(),
        _ => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The number that a text is; `None` if it is none, or cannot be held exactly.
pub(crate) fn decimal_of(text: &str) -> Option<Decimal> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if !is_plain || digits > DIGITS {
        return None;
    }
    Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Row {
        #[serde(default, deserialize_with = "text")]
        text: Option<String>,
        #[serde(default, deserialize_with = "decimal")]
        number: Option<Decimal>,
        #[serde(default, deserialize_with = "flag")]
        flag: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    struct List {
        #[serde(default, deserialize_with = "rows")]
        rows: Option<Vec<Row>>,
    }

    fn row(json: &str) -> Row {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_are_exact_whatever_their_type_and_nothing_else_is_one() {
        for (json, number) in [
            ("0.1", Some("0.1")),
            ("12345678901234567.89", Some("12345678901234567.89")),
            ("\"200.00\"", Some("200.00")),
            ("\" 7 \"", Some("7")),
            ("-2", Some("-2")),
            ("1e3", Some("1000")),
            ("2.5E-3", Some("0.0025")),
            ("null", None),
            ("\"\"", None),
            ("\"NaN\"", None),
            ("\"1,5\"", None),
            ("\"1_000\"", None),
            ("true", None),
            ("[1]", None),
            ("{\"a\": 1}", None),
            ("1e400", None),
            ("\"-\"", None),
            ("12345678901234567890123456789012345", None),
        ] {
            let read = row(&format!("{{\"number\": {json}}}")).number;
            assert_eq!(read.map(|read| read.to_string()).as_deref(), number, "{json}");
        }
        assert_eq!(row("{}").number, None);
    }

    #[test]
    fn texts_may_be_numbers_and_flags_may_be_either() {
        for (json, text) in [
            ("\" A-1 \"", Some("A-1")),
            ("100200", Some("100200")),
            ("\"\"", None),
            ("null", None),
            ("true", None),
            ("{}", None),
        ] {
            assert_eq!(row(&format!("{{\"text\": {json}}}")).text.as_deref(), text, "{json}");
        }
        for (json, flag) in [
            ("true", Some(true)),
            ("\"1\"", Some(true)),
            ("0", Some(false)),
            ("\"false\"", Some(false)),
            ("null", None),
            ("\"da\"", None),
        ] {
            assert_eq!(row(&format!("{{\"flag\": {json}}}")).flag, flag, "{json}");
        }
    }

    #[test]
    fn a_list_is_read_whatever_some_of_it_is() {
        let count = |json: &str| serde_json::from_str::<List>(json).unwrap().rows.map(|rows| rows.len());
        assert_eq!(count(r#"{"rows": [{"text": "a"}, 7, null, {"text": "b"}]}"#), Some(2));
        assert_eq!(count(r#"{"rows": {"0": {"text": "a"}, "3": {"text": "b"}}}"#), Some(2));
        assert_eq!(count(r#"{"rows": null}"#), Some(0));
        assert_eq!(count(r#"{"rows": "none"}"#), None);
        assert_eq!(count("{}"), None);
    }
}
