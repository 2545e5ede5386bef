//! One text for one JSON value: members sorted, no insignificant white space, strings escaped one way. Numbers keep
//! the server's digits.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::members::{Kind, Members, text};
use super::{ContentHash, Json};

/// Below this depth a value is taken as written. Each level is scanned once more than the one around it, so depth must
/// be bounded against hostile input; real rows have three or four levels.
const DEEPEST: usize = 32;

/// The fingerprint of a row.
pub(super) fn hash(raw: &RawValue) -> ContentHash {
    let mut canonical = String::with_capacity(raw.get().len());
    write(raw, 0, &mut canonical);
    digest(&canonical)
}

/// The fingerprint of a row that is taken apart already.
pub(super) fn hash_of(members: &Members<'_>) -> ContentHash {
    let mut canonical = String::with_capacity(512);
    write_members(members, 0, &mut canonical);
    digest(&canonical)
}

fn digest(canonical: &str) -> ContentHash {
    let digest = Sha256::digest(canonical.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    ContentHash(hash)
}

fn write(raw: &RawValue, depth: usize, out: &mut String) {
    match Kind::of(raw) {
        Kind::Object if depth < DEEPEST => {
            let Some(members) = Members::parse(raw) else {
                return out.push_str(raw.get());
            };
            write_members(&members, depth, out);
        }
        // Without members to sort and texts to escape otherwise, white space is all that may differ.
        Kind::Array if !raw.get().bytes().any(|byte| matches!(byte, b'{' | b'\\')) => push_compact(raw.get(), out),
        Kind::Array if depth < DEEPEST => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
                return out.push_str(raw.get());
            };
            out.push('[');
            for (position, item) in items.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write(item, depth + 1, out);
            }
            out.push(']');
        }
        // Without escapes there is only one way to write a text.
        Kind::Text if !raw.get().contains('\\') => out.push_str(raw.get()),
        // A text that is no valid Unicode (half a surrogate pair) has no other spelling than its own.
        Kind::Text => match text(raw) {
            Some(text) => write_text(&text, out),
            None => out.push_str(raw.get()),
        },
        _ => out.push_str(raw.get()),
    }
}

fn write_members(members: &Members<'_>, depth: usize, out: &mut String) {
    let mut sorted: Vec<(&str, &RawValue)> = members.iter().collect();
    // Any order will do, and most lengths differ.
    sorted.sort_unstable_by_key(|(name, _)| (name.len(), *name));
    out.push('{');
    for (position, (name, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        write(value, depth + 1, out);
    }
    out.push('}');
}

fn write_text(text: &str, out: &mut String) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// An object of these members, in this order.
pub(super) fn object(members: &[(&str, &RawValue)]) -> Json {
    let mut out = String::from("{");
    for (position, (name, value)) in members.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_text(name, &mut out);
        out.push(':');
        push_compact(value.get(), &mut out);
    }
    out.push('}');
    raw_value(out)
}

/// The same value without insignificant white space.
pub(super) fn compact(raw: &RawValue) -> Json {
    let mut out = String::new();
    push_compact(raw.get(), &mut out);
    // Most servers write none.
    if out.len() == raw.get().len() {
        return raw.to_owned();
    }
    raw_value(out)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn push_compact(json: &str, out: &mut String) {
    let (mut quoted, mut escaped, mut copied) = (false, false, 0);
    for (position, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if !quoted && is_space(byte) => {
                out.push_str(&json[copied..position]);
                copied = position + 1;
            }
            _ => {}
        }
    }
    out.push_str(&json[copied..]);
}

fn raw_value(json: String) -> Json {
    #[expect(clippy::expect_used, reason = "put together from valid JSON")]
    RawValue::from_string(json).expect("valid JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Json {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn the_order_of_members_and_white_space_do_not_matter() {
        let one = raw(r#"{"b":[1,{"y":"ș","x":null}],"a":1.50}"#);
        let two = raw("{ \"a\" : 1.50,\n \"b\" : [ 1, {\"x\":null, \"y\":\"\\u0219\"} ] }");
        assert_eq!(hash(&one), hash(&two));
    }

    #[test]
    fn order_of_items_digits_and_values_matter() {
        let all = [
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[1,2.0]}"#,
            r#"{"a":["1",2]}"#,
            r#"{"b":[1,2]}"#,
        ];
        for (position, one) in all.iter().enumerate() {
            for two in &all[position + 1..] {
                assert_ne!(hash(&raw(one)), hash(&raw(two)), "{one} {two}");
            }
        }
    }

    #[test]
    fn the_last_of_two_members_with_one_name_counts() {
        assert_eq!(hash(&raw(r#"{"a":1,"b":3,"a":2}"#)), hash(&raw(r#"{"a":2,"b":3}"#)));
    }

    #[test]
    fn bottomless_nesting_is_survived() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        hash(&raw(&deep));
    }

    #[test]
    fn compacting_leaves_texts_alone() {
        let compacted = compact(&raw("{ \"a b\" : \" \\\" \\\\\" ,\t\"c\" : [ 1.00 , true ] }"));
        assert_eq!(compacted.get(), r#"{"a b":" \" \\","c":[1.00,true]}"#);
    }
}
