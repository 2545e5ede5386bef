//! Reading a report's members: figures, dates and counts by name, in the notations that are to be expected.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use crate::allai::model::members::{Kind, finite, text};
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

/// Takes the first of the named figures that can be read. One written as text stays as well, so that `extra` tells how
/// it came.
pub(super) fn figure<T>(members: &mut Members, names: &[&str], read: impl Fn(&RawValue) -> Option<T>) -> Option<T> {
    names.iter().find_map(|name| {
        let raw = members.get(*name)?;
        let value = read(raw)?;
        if !is_text(raw) {
            members.remove(*name);
        }
        Some(value)
    })
}

pub(super) fn is_text(raw: &RawValue) -> bool {
    Kind::of(raw) == Kind::Text
}

/// What is left of the members; `None` if nothing is.
pub(super) fn extra(members: &Members) -> Option<Json> {
    if members.is_empty() {
        return None;
    }
    to_raw_value(members).ok()
}

/// A number, also written as text.
pub(super) fn number(raw: &RawValue) -> Option<f64> {
    match Kind::of(raw) {
        Kind::Number | Kind::Text => finite(&text(raw)?),
        _ => None,
    }
}

/// A whole number, also written as `12.0` or as text.
pub(super) fn integer(raw: &RawValue) -> Option<i64> {
    let number = number(raw)?;
    if let Some(whole) = text(raw).and_then(|text| text.trim().parse().ok()) {
        return Some(whole);
    }
    // Up to 2^53 every whole number has a float of its own.
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        format!("{number:.0}").parse().ok()
    } else {
        None
    }
}

/// A count under one of its usual names, and whether it was written as text.
fn count(members: &mut Members) -> Option<(i64, bool)> {
    take(members, &COUNT, |raw| Some((integer(raw)?, is_text(raw))))
}

/// Takes the member of this name if it holds counts by name: `{"website": 3}` or `[{"channel": "website", "count": 3}]`.
/// With counts written as text it stays as well. Nothing is taken unless all of it is understood, so that nothing is
/// lost.
///
/// A name too long to be one (and for an index of Postgres) is not understood.
pub(super) fn tally(members: &mut Members, name: &str, label: &str) -> Vec<(String, i64)> {
    let Some((counts, as_text)) = members.get(name).and_then(|raw| counts_by_name(raw, label)) else {
        return Vec::new();
    };
    if !as_text {
        members.remove(name);
    }
    counts
}

/// The counts, each name once, and whether any of them was written as text.
fn counts_by_name(raw: &RawValue, label: &str) -> Option<(Vec<(String, i64)>, bool)> {
    const LONGEST_NAME: usize = 500;
    let mut counts: Vec<(String, i64)> = Vec::new();
    let mut any_text = false;
    let mut add = |name: String, (count, as_text): (i64, bool)| {
        any_text |= as_text;
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => counts.push((name, count)),
        }
    };
    if let Ok(members) = serde_json::from_str::<Members>(raw.get()) {
        for (name, raw) in members {
            add(name, (integer(&raw)?, is_text(&raw)));
        }
    } else {
        for item in serde_json::from_str::<Vec<Members>>(raw.get()).ok()? {
            let mut item = item;
            let name = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
            let name = take(&mut item, &[label, "name"], name)?;
            let count = count(&mut item)?;
            if !item.is_empty() {
                return None;
            }
            add(name, count);
        }
    }
    counts
        .iter()
        .all(|(name, _)| name.len() <= LONGEST_NAME)
        .then_some((counts, any_text))
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
