//! Points in time as APIs write them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SubsecRound, Utc};
use serde_json::value::RawValue;

use super::members::{Kind, text};

/// Epoch figures from here on are milliseconds: as seconds this would be the year 5138.
const FIRST_MILLISECONDS: f64 = 1e11;

/// Reads a text or a number, see [`parse`]; nothing else is a point in time.
pub(super) fn read(raw: &RawValue) -> Option<DateTime<Utc>> {
    match Kind::of(raw) {
        Kind::Number | Kind::Text => text(raw).and_then(|text| parse(&text)),
        _ => None,
    }
}

/// Reads RFC 3339, the same with a space or without a zone (then UTC), a date alone (then midnight UTC), or seconds or
/// milliseconds since 1970. Truncated to microseconds, which both databases can hold; `None` outside the years 1 to
/// 9999.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let time = if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'))
        && text.parse::<f64>().is_ok()
    {
        epoch(text)?
    } else {
        civil(text)?
    };
    // A leap second is the first of the next minute: SQLite knows none.
    let time = match time.timestamp_subsec_nanos().checked_sub(1_000_000_000) {
        Some(nanos) => DateTime::from_timestamp(time.timestamp() + 1, nanos)?,
        None => time,
    };
    (1..=9999).contains(&time.year()).then(|| time.trunc_subsecs(6))
}

fn civil(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    for format in [
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f %#z",
    ] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.to_utc());
        }
    }
    let local = text
        .strip_suffix("UTC")
        .or_else(|| text.strip_suffix(['Z', 'z']))
        .unwrap_or(text)
        .trim_end();
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(local, format) {
            return Some(time.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc())
}

fn epoch(text: &str) -> Option<DateTime<Utc>> {
    let figure: f64 = text.parse().ok()?;
    let milliseconds = figure.abs() >= FIRST_MILLISECONDS;
    // Whole figures do not go through floating point: no digit may change.
    if let Ok(whole) = text.parse::<i64>() {
        return if milliseconds {
            DateTime::from_timestamp_millis(whole)
        } else {
            DateTime::from_timestamp(whole, 0)
        };
    }
    let micros = figure * if milliseconds { 1e3 } else { 1e6 };
    if micros.abs() > 3e17 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded just above; rounding repairs binary fractions"
    )]
    DateTime::from_timestamp_micros(micros.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_notations_are_read() {
        for (text, expected) in [
            ("2026-01-19T10:30:00Z", "2026-01-19T10:30:00+00:00"),
            (
                "2026-01-19T12:30:00.123456789+02:00",
                "2026-01-19T10:30:00.123456+00:00",
            ),
            ("2026-01-19t10:30:00z", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19 10:30:00", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19 10:30:00Z", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19 10:30:00 UTC", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19 12:30:00+02", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19T12:30:00+0200", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19T10:30:00.5", "2026-01-19T10:30:00.500+00:00"),
            ("2026-01-19T10:30", "2026-01-19T10:30:00+00:00"),
            ("2026-01-19", "2026-01-19T00:00:00+00:00"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
            ("2026-01-19 10:30:60.25", "2026-01-19T10:31:00.250+00:00"),
            ("1768818600", "2026-01-19T10:30:00+00:00"),
            ("1768818600123", "2026-01-19T10:30:00.123+00:00"),
            ("1768818600.25", "2026-01-19T10:30:00.250+00:00"),
            ("1.7688186e9", "2026-01-19T10:30:00+00:00"),
            ("-86400", "1969-12-31T00:00:00+00:00"),
        ] {
            assert_eq!(
                parse(text).map(|time| time.to_rfc3339()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_not_guessed() {
        for text in [
            "",
            "yesterday",
            "10:30",
            "2026-13-01",
            "2026-02-30T00:00:00Z",
            "NaN",
            "1e300",
            "19.01.2026",
            "-",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("99999999999999999"), None);
    }
}
