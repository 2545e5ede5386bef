//! Values between JSON and Odoo, whose empty value is `false`, whose numbers are floats and whose times are texts in UTC.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

pub(super) use crate::stored::{escaped, is_storable, record_id, stripped};

/// How many decimal digits a double surely holds; what is behind them comes from computing with binary fractions.
const DIGITS: u32 = 15;
const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// A quantity or an amount. `None` if it is none.
pub(super) fn decimal(value: &Value) -> Option<Decimal> {
    let Value::Number(number) = value else { return None };
    let text = number.to_string();
    let decimal = Decimal::from_str(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .ok()?;
    Some(decimal.round_sf(DIGITS)?.normalize())
}

/// A text that is not empty.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// The id of a related record, which comes with its name.
pub(super) fn related(value: &Value) -> Option<i64> {
    value.get(0)?.as_i64()
}

/// The name of a related record.
pub(super) fn related_name(value: &Value) -> Option<&str> {
    text(value.get(1)?)
}

/// A point in time.
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    let whole = value.as_str()?.split('.').next()?;
    NaiveDateTime::parse_from_str(whole, TIME)
        .ok()
        .map(|time| time.and_utc())
}

/// A point in time for Odoo, to the second.
pub(super) fn encoded_time(time: DateTime<Utc>) -> String {
    time.format(TIME).to_string()
}

/// A day.
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// A text as HTML that shows it: nothing in it is markup.
pub(super) fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    html.push_str("<p>");
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '\n' => html.push_str("<br>"),
            '\r' => {}
            other => html.push(other),
        }
    }
    html.push_str("</p>");
    html
}

/// The text that HTML shows, but for its looks.
pub(super) fn shown(html: &str) -> String {
    let mut shown = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        shown.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('>') else {
            rest = &rest[start..];
            break;
        };
        let tag = rest[start + 1..start + end].to_lowercase();
        let name = tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default();
        if matches!(name, "br" | "/p" | "/div" | "/li" | "/tr") {
            shown.push('\n');
        }
        rest = &rest[start + end + 1..];
    }
    shown.push_str(rest);
    // The ampersand last, lest what was written becomes something else.
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        shown = shown.replace(entity, character);
    }
    shown.trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_lose_what_binary_fractions_added() {
        let read = |value: Value| decimal(&value).map(|decimal| decimal.to_string());
        assert_eq!(read(json!(45.5)).as_deref(), Some("45.5"));
        assert_eq!(read(json!(8999.0)).as_deref(), Some("8999"));
        assert_eq!(read(json!(0.1 + 0.2)).as_deref(), Some("0.3"));
        assert_eq!(read(json!(8_099.100_000_000_001)).as_deref(), Some("8099.1"));
        assert_eq!(read(json!(1e-7)).as_deref(), Some("0.0000001"));
        assert_eq!(read(json!(0)).as_deref(), Some("0"));
        for unknown in [json!(null), json!(false), json!("7"), json!({})] {
            assert_eq!(decimal(&unknown), None, "{unknown}");
        }
    }

    #[test]
    fn times_come_back_as_they_went() {
        let at = DateTime::parse_from_rfc3339("2026-11-26T02:40:25Z").unwrap().to_utc();
        assert_eq!(time(&json!(encoded_time(at))), Some(at));
        assert_eq!(time(&json!("2026-11-26 02:40:25.960324")), Some(at));
        for other in [json!(false), json!("2026-11-26"), json!("now")] {
            assert_eq!(time(&other), None, "{other}");
        }
    }

    #[test]
    fn texts_stay_texts_as_html() {
        for text in [
            "a < b & c > d",
            "<script>alert(1)</script>",
            "one\ntwo",
            "&lt;",
            "&amp;lt;",
            "\"'",
        ] {
            let written = html(text);
            assert!(!written.contains("<script"), "{written}");
            assert_eq!(shown(&written), text);
        }
        assert_eq!(
            shown("<p>One <b>two</b></p><p>three<br/>four</p>"),
            "One two\nthree\nfour"
        );
        assert_eq!(shown("1 < 2"), "1 < 2");
    }
}
