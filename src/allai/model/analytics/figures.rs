//! Reading a report's members: figures, dates and counts by name, in the notations that are to be expected.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use crate::allai::model::{ContentHash, Json};

/// The members of an object, by name.
pub(super) type Members = BTreeMap<String, Json>;

/// What a count may be called.
pub(super) const COUNT: [&str; 5] = ["count", "conversations", "total", "value", "total_conversations"];

/// Takes the first of the named members that can be read; the others stay.
pub(super) fn take<T>(members: &mut Members, names: &[&str], read: impl Fn(&RawValue) -> Option<T>) -> Option<T> {
    names.iter().find_map(|name| {
        let value = read(members.get(*name)?)?;
        members.remove(*name);
        Some(value)
    })
}

/// What is left of the members; `None` if nothing is.
pub(super) fn extra(members: &Members) -> Option<Json> {
    if members.is_empty() {
        return None;
    }
    to_raw_value(members).ok()
}

pub(super) fn number(raw: &RawValue) -> Option<f64> {
    serde_json::from_str(raw.get()).ok()
}

/// A whole number, also written as `12.0`.
pub(super) fn integer(raw: &RawValue) -> Option<i64> {
    if let Ok(whole) = serde_json::from_str(raw.get()) {
        return Some(whole);
    }
    let number = number(raw)?;
    // Up to 2^53 every whole number has a float of its own.
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        format!("{number:.0}").parse().ok()
    } else {
        None
    }
}

/// Counts by name: `{"website": 3}` or `[{"channel": "website", "count": 3}]`. `None` unless all of it is understood,
/// so that nothing is lost.
///
/// A name too long to be one (and for an index of Postgres) is not understood.
pub(super) fn tally(raw: &RawValue, label: &str) -> Option<Vec<(String, i64)>> {
    const LONGEST_NAME: usize = 500;
    let mut counts: Vec<(String, i64)> = Vec::new();
    let mut add = |name: String, count: i64| match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += count,
        None => counts.push((name, count)),
    };
    if let Ok(members) = serde_json::from_str::<Members>(raw.get()) {
        for (name, count) in members {
            add(name, integer(&count)?);
        }
    } else {
        for item in serde_json::from_str::<Vec<Members>>(raw.get()).ok()? {
            let mut item = item;
            let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
            let name = take(&mut item, &[label, "name"], text)?;
            let count = take(&mut item, &COUNT, integer)?;
            if !item.is_empty() {
                return None;
            }
            add(name, count);
        }
    }
    counts
        .iter()
        .all(|(name, _)| name.len() <= LONGEST_NAME)
        .then_some(counts)
}

pub(super) fn date(raw: &RawValue) -> Option<NaiveDate> {
    if let Ok(text) = serde_json::from_str::<String>(raw.get()) {
        return parse_date(&text);
    }
    let number = integer(raw)?;
    // Thirteen digits are milliseconds.
    let at = if number.abs() >= 100_000_000_000 {
        DateTime::<Utc>::from_timestamp_millis(number)
    } else if number.abs() >= 100_000_000 {
        DateTime::<Utc>::from_timestamp(number, 0)
    } else {
        None
    };
    at.map(|at| at.date_naive())
}

/// `2026-01-19`, alone or before a time. A time with an offset means its own day, as the API counted it.
pub(super) fn parse_date(text: &str) -> Option<NaiveDate> {
    let (day, rest) = text.trim().split_at_checked(10)?;
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    (rest.is_empty() || rest.starts_with(['T', ' '])).then_some(day)
}

/// The fingerprint of a value, whatever the order of its members.
pub(super) fn fingerprint(raw: &RawValue) -> ContentHash {
    let canonical = serde_json::from_str::<serde_json::Value>(raw.get())
        .map_or_else(|_| raw.get().to_owned(), |value| value.to_string());
    let digest = Sha256::digest(canonical.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    ContentHash(hash)
}
