//! Whether a body is signed with an account's secret, and what then counts as the body.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::allai::signature;
use crate::config::SignedBody;

/// The body that was signed, if it was: the bytes as they came, or its JSON as its sender wrote it when it signed.
pub(super) fn verified<'b>(
    secrets: &[SecretString],
    signed: SignedBody,
    body: &'b [u8],
    header: &str,
) -> Option<Cow<'b, [u8]>> {
    let signed: Cow<'b, [u8]> = match signed {
        SignedBody::Raw => body.into(),
        SignedBody::Reserialized => signed_text(body)?.into_bytes().into(),
    };
    signature::verify(secrets, &signed, header).then_some(signed)
}

/// JSON as JavaScript's `JSON.stringify(JSON.parse(body))` writes it: no white space, numbers as doubles, of members with
/// one name the last, at the place of the first, and those named like array indexes first
/// (<https://tc39.es/ecma262/#sec-json.stringify>). `None` if it is not JSON, or not in UTF-8.
pub fn signed_text(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let mut text = String::with_capacity(body.len());
    value.write(&mut text);
    Some(text)
}

/// A JSON value as JavaScript has it after parsing.
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    fn write(&self, to: &mut String) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(true) => to.push_str("true"),
            Self::Bool(false) => to.push_str("false"),
            Self::Number(number) => to.push_str(ryu_js::Buffer::new().format(*number)),
            Self::Text(text) => write_text(text, to),
            Self::Array(items) => {
                write_list(to, ['[', ']'], items, Self::write);
            }
            Self::Object(members) => {
                let mut indexed: Vec<_> = members
                    .iter()
                    .filter_map(|(name, value)| Some((index(name)?, name, value)))
                    .collect();
                indexed.sort_by_key(|(index, ..)| *index);
                let named = members.iter().filter(|(name, _)| index(name).is_none());
                let ordered: Vec<(&String, &Self)> = indexed
                    .iter()
                    .map(|(_, name, value)| (*name, *value))
                    .chain(named.map(|(name, value)| (name, value)))
                    .collect();
                write_list(to, ['{', '}'], &ordered, |(name, value), to| {
                    write_text(name, to);
                    to.push(':');
                    value.write(to);
                });
            }
        }
    }
}

fn write_list<T>(to: &mut String, [open, close]: [char; 2], items: &[T], write: impl Fn(&T, &mut String)) {
    to.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            to.push(',');
        }
        write(item, to);
    }
    to.push(close);
}

/// `serde_json` escapes what `JSON.stringify` escapes, and in the same way.
fn write_text(text: &str, to: &mut String) {
    // A string cannot fail to be written.
    to.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// A member's name that JavaScript takes for an array index: it comes before the others, in numeric order.
fn index(name: &str) -> Option<u32> {
    let index: u32 = name.parse().ok()?;
    (index != u32::MAX && index.to_string() == name).then_some(index)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are doubles")]
        impl<'de> Visitor<'de> for Read {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Value::Array(array))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                let mut object: Vec<(String, Value)> = Vec::new();
                let mut places: HashMap<String, usize> = HashMap::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if let Some(&place) = places.get(&name) {
                        object[place].1 = value;
                    } else {
                        places.insert(name.clone(), object.len());
                        object.push((name, value));
                    }
                }
                Ok(Value::Object(object))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_javascript_writes_it() {
        // Each pair as node 20 prints it: JSON.stringify(JSON.parse(text)).
        for (text, written) in [
            (
                " { \"b\" : 1 , \"a\" : [ 1.0, 2.50 , -0 , 1e3 ] } ",
                r#"{"b":1,"a":[1,2.5,0,1000]}"#,
            ),
            (
                r#"{"z":1,"2":2,"10":3,"1":4,"01":5}"#,
                r#"{"1":4,"2":2,"10":3,"z":1,"01":5}"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (
                r#"["\u0103\u00ee", "\u0001\b\f\n\r\t\"\\\/", "\u2028"]"#,
                "[\"ăî\",\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\",\"\u{2028}\"]",
            ),
            (
                "[1e21,123456789012345680000,1e-7,0.000001,9007199254740993]",
                "[1e+21,123456789012345680000,1e-7,0.000001,9007199254740992]",
            ),
            ("[true,false,null,{},[]]", "[true,false,null,{},[]]"),
        ] {
            assert_eq!(signed_text(text.as_bytes()).as_deref(), Some(written), "{text}");
        }
        assert_eq!(signed_text(b"{"), None);
        assert_eq!(signed_text(b"\"\xff\""), None);
    }

    #[test]
    fn what_was_signed_is_what_counts() {
        let secrets = [SecretString::from("s")];
        let sent: &[u8] = b"{ \"event\": \"a.b\", \"n\": 1.0 }";
        let stringified: &[u8] = br#"{"event":"a.b","n":1}"#;
        let (of_raw, of_json) = (
            signature::sign(&secrets[0], sent),
            signature::sign(&secrets[0], stringified),
        );
        let body = |signed, header: &str| verified(&secrets, signed, sent, header).map(Cow::into_owned);
        assert_eq!(body(SignedBody::Raw, &of_raw).as_deref(), Some(sent));
        assert_eq!(body(SignedBody::Raw, &of_json), None);
        assert_eq!(body(SignedBody::Reserialized, &of_json).as_deref(), Some(stringified));
        assert_eq!(body(SignedBody::Reserialized, &of_raw), None);
    }
}
