//! Values as they are compared: what each system makes of one is not to look like a change.

use rust_decimal::Decimal;
use serde_json::Value;

/// Whether a value says nothing: null, an empty text, a list of nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.iter().all(is_empty),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether two values are the same: nothing is nothing however it is said, space around a text does not count, a number may be
/// written as a text, and a list of labels has no order.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (a, b) if is_empty(a) || is_empty(b) => is_empty(a) && is_empty(b),
        (Value::Array(a), Value::Array(b)) => sorted(a) == sorted(b),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (Value::Number(number), other) | (other, Value::Number(number)) => {
            let as_number = |text: &str| {
                text.trim()
                    .parse::<Decimal>()
                    .or_else(|_| Decimal::from_scientific(text.trim()))
            };
            match (as_number(&number.to_string()), text(other).map(|text| as_number(&text))) {
                (Ok(a), Some(Ok(b))) => a == b,
                _ => a == b,
            }
        }
        (a, b) => text(a).is_some_and(|a| text(b).is_some_and(|b| a.trim() == b.trim())),
    }
}

fn sorted(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| text(value).map_or_else(|| value.to_string(), |text| text.trim().to_owned());
    let mut texts: Vec<String> = values.iter().filter(|value| !is_empty(value)).map(text).collect();
    texts.sort();
    texts
}

/// A value that is one word as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        for (a, b) in [
            (json!(null), json!("")),
            (json!([]), json!(" ")),
            (json!([""]), json!(null)),
            (json!(["a", ""]), json!(["a"])),
            (json!("Ion"), json!(" Ion ")),
            (json!(5), json!("5.0")),
            (json!(1e3), json!("1000")),
            (json!(true), json!("true")),
            (json!(["a", "b"]), json!(["b", " a"])),
            (json!({"x": 1}), json!({"x": "1"})),
        ] {
            assert!(same(&a, &b) && same(&b, &a), "{a} {b}");
        }
        for (a, b) in [
            (json!(null), json!(0)),
            (json!(null), json!(false)),
            (json!("Ion"), json!("ion")),
            (json!(["a"]), json!(["a", "a"])),
            (json!("a"), json!(["a"])),
            (json!(5), json!("five")),
            (json!({"x": 1}), json!({"y": 1})),
        ] {
            assert!(!same(&a, &b) && !same(&b, &a), "{a} {b}");
        }
    }
}
