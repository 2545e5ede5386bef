//! JSON compared by value: the order of members, white space, escapes and the notation of numbers say nothing.
//!
//! Postgres keeps JSON in a form of its own, so the text that comes back is not the text that went in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// What is nested deeper is compared as it is written, so that hostile input cannot exhaust the stack.
const DEEPEST: u32 = 256;

/// Whether two JSON texts say the same. Text that is no JSON says nothing that anything else does.
pub(super) fn same(one: &str, two: &str) -> bool {
    one == two || canonical(one).is_some_and(|one| canonical(two).is_some_and(|two| one == two))
}

fn canonical(json: &str) -> Option<String> {
    let raw: &RawValue = serde_json::from_str(json).ok()?;
    let mut out = String::with_capacity(json.len());
    write(raw.get(), 0, &mut out);
    Some(out)
}

fn write(json: &str, depth: u32, out: &mut String) {
    match json.as_bytes().first() {
        Some(b'{') if depth < DEEPEST => match serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
            Ok(members) => {
                out.push('{');
                for (name, value) in members {
                    write_text(&name, out);
                    out.push(':');
                    write(value.get(), depth + 1, out);
                    out.push(',');
                }
                out.push('}');
            }
            Err(_) => out.push_str(json),
        },
        Some(b'[') if depth < DEEPEST => match serde_json::from_str::<Vec<&RawValue>>(json) {
            Ok(items) => {
                out.push('[');
                for item in items {
                    write(item.get(), depth + 1, out);
                    out.push(',');
                }
                out.push(']');
            }
            Err(_) => out.push_str(json),
        },
        // Half a surrogate pair has no other spelling than its own.
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => write_text(&text, out),
            Err(_) => out.push_str(json),
        },
        Some(b'-' | b'0'..=b'9') => write_number(json, out),
        _ => out.push_str(json),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Digits without zeros at either end, and the power of ten they are multiplied by: exact, however long.
fn write_number(number: &str, out: &mut String) {
    let (negative, unsigned) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return out.push('0');
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent: Option<i64> = exponent.parse().ok();
    let shift = i64::try_from(zeros).ok().zip(i64::try_from(fraction.len()).ok());
    let power = exponent
        .zip(shift)
        .and_then(|(exponent, (zeros, fraction))| exponent.checked_add(zeros)?.checked_sub(fraction));
    match power {
        Some(power) => {
            let sign = if negative { "-" } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(out, "{sign}{significant}e{power}");
        }
        None => out.push_str(number),
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn notation_does_not_matter() {
        for (one, two) in [
            (
                r#"{"b":[1,{"y":"ș"}],"a":1.50}"#,
                r#"{"a": 1.5, "b": [1, {"y": "\u0219"}]}"#,
            ),
            ("1e3", "1000"),
            ("1E+3", "1000.00"),
            ("-0", "0.0"),
            ("-12.50e-1", "-1.25"),
            ("123456789012345678901234567890", "1.23456789012345678901234567890e29"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("[]", "[ ]"),
        ] {
            assert!(same(one, two), "{one} {two}");
        }
    }

    #[test]
    fn values_matter() {
        let all = [
            "1",
            "-1",
            "10",
            "0.1",
            r#""1""#,
            "null",
            "true",
            "[1]",
            "[1,2]",
            "[2,1]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":null}"#,
            "9007199254740993",
            "9007199254740992",
            "no json",
            "",
        ];
        for (at, one) in all.iter().enumerate() {
            for two in &all[at + 1..] {
                assert!(!same(one, two), "{one} {two}");
            }
        }
    }

    #[test]
    fn bottomless_nesting_is_survived() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(!same(&deep("1"), &deep("2")));
    }
}
