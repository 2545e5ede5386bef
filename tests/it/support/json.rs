//! JSON compared by what it says, however large its numbers and however it is written.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON value, numbers by their decimal value, whatever their size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Sign, digits without zeros at either end, and power of ten.
    Number(Decimal),
    Text(String),
    /// A text that is no Unicode, as it is written.
    NoText(String),
    Array(Vec<Json>),
    Object(Members),
}

/// The members of an object; of two with the same name the last.
pub(crate) type Members = BTreeMap<String, Json>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
    /// As it is written.
    text: Written,
}

/// Two numbers are the same however they are written.
#[derive(Clone, Debug)]
struct Written(String);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Json {
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        match text.as_bytes()[0] {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => serde_json::from_str(text).map_or_else(|_| Self::NoText(text.to_owned()), Self::Text),
            b'[' => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
                Self::Array(items.iter().map(|item| Self::parse(item.get())).collect())
            }
            b'{' => {
                let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap();
                let parsed = members
                    .into_iter()
                    .map(|(name, value)| (name, Self::parse(value.get())));
                Self::Object(parsed.collect())
            }
            _ => Self::Number(Decimal::parse(text)),
        }
    }

    /// The members of an object.
    pub(crate) fn members(text: &str) -> Members {
        match Self::parse(text) {
            Self::Object(members) => members,
            other => panic!("no object: {other:?}"),
        }
    }

    /// The text a scalar stands for.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.text.0.clone()),
            Self::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }
}

impl Decimal {
    fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let negative = whole.starts_with('-');
        let all = format!("{}{fraction}", whole.trim_start_matches('-'));
        let digits = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - digits.len()).unwrap();
        let exponent: i64 = exponent.parse().unwrap();
        let exponent = exponent - i64::try_from(fraction.len()).unwrap() + zeros;
        let digits = digits.trim_start_matches('0').to_owned();
        Self {
            negative: negative && !digits.is_empty(),
            exponent: if digits.is_empty() { 0 } else { exponent },
            digits,
            text: Written(text.to_owned()),
        }
    }
}

#[test]
fn numbers_are_the_same_however_they_are_written() {
    for (one, two) in [
        ("1.50", "15e-1"),
        ("1e3", "1000"),
        ("-0.0", "0"),
        ("0.010", "1E-2"),
        ("100", "1e2"),
    ] {
        assert_eq!(Json::parse(one), Json::parse(two));
    }
    for (one, two) in [
        ("1.5", "15"),
        ("1", "-1"),
        ("18446744073709551616", "18446744073709551615"),
        ("1", "\"1\""),
    ] {
        assert_ne!(Json::parse(one), Json::parse(two));
    }
}
