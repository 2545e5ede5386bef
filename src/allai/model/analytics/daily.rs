//! The report of conversations per day, in whatever shape.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::value::{RawValue, to_raw_value};

use super::figures::{COUNT, Members, date, extra, figure, fingerprint, integer, is_text, parse_date, take};
use crate::allai::model::{ContentHash, Json, Rejected};

/// `/analytics/conversations?granularity=day`.
#[derive(Clone, Debug)]
pub struct DailyReport {
    /// One row a day, by day.
    pub days: Vec<DayCount>,
    /// Rows that name no day or no count.
    pub rejected: Vec<Rejected>,
    /// What stood beside the rows; `None` if nothing did.
    pub extra: Option<Json>,
    /// The report as the server sent it.
    pub raw: Json,
}

/// The conversations of a day.
#[derive(Clone, Debug)]
pub struct DayCount {
    /// The day.
    pub day: NaiveDate,
    /// Conversations on that day.
    pub conversations: i64,
    /// Every other member of the row, and a count written as text; if the report had several rows of the day,
    /// `{"rows": [...]}` with them as they came. `None` if there is nothing.
    pub extra: Option<Json>,
    /// Fingerprint of the row.
    pub content_hash: ContentHash,
}

const ROWS: [&str; 8] = [
    "data",
    "items",
    "days",
    "series",
    "conversations",
    "results",
    "daily",
    "conversations_per_day",
];
const DAY: [&str; 4] = ["date", "day", "period", "timestamp"];

impl DailyReport {
    /// Reads the report: an array of objects with a day and a count, or an object of counts by day; bare, or inside
    /// one of the usual members, perhaps one inside another. Rejected if there is neither.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        let (days, rejected, extra) = daily_rows(raw, 3).ok_or_else(|| Rejected {
            id: None,
            reason: "no conversations per day in it: neither rows with a date and a count nor an object of counts by \
                     date"
                .to_owned(),
            raw: raw.to_owned(),
        })?;
        Ok(Self {
            days,
            rejected,
            extra,
            raw: raw.to_owned(),
        })
    }
}

type Rows = (Vec<DayCount>, Vec<Rejected>, Option<Json>);

/// Looks for the rows in a value and, up to `depth` envelopes deep, in its members.
fn daily_rows(raw: &RawValue, depth: u8) -> Option<Rows> {
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        return rows_of(&items);
    }
    let mut members: Members = serde_json::from_str(raw.get()).ok()?;
    if let Some(days) = counts_by_day(&members) {
        return Some((days, Vec::new(), None));
    }
    if depth == 0 {
        return None;
    }
    let (name, (days, rejected, inner)) = ROWS
        .iter()
        .find_map(|name| Some((*name, daily_rows(members.get(*name)?, depth - 1)?)))?;
    members.remove(name);
    if let Some(inner) = inner {
        members.insert(name.to_owned(), inner);
    }
    Some((days, rejected, extra(&members)))
}

/// An empty array is a report without days; one in which nothing is understood is none.
fn rows_of(items: &[&RawValue]) -> Option<Rows> {
    let mut rejected = Vec::new();
    let mut by_day: BTreeMap<NaiveDate, Vec<(DayCount, &RawValue)>> = BTreeMap::new();
    for item in items {
        match day_of(item) {
            Some(day) => by_day.entry(day.day).or_default().push((day, item)),
            None => rejected.push(Rejected {
                id: None,
                reason: "a row of the daily report without a usable date and count".to_owned(),
                raw: (*item).to_owned(),
            }),
        }
    }
    if by_day.is_empty() && !items.is_empty() {
        return None;
    }
    let days = by_day.into_values().filter_map(merge).collect();
    Some((days, rejected, None))
}

/// One row of the rows of a day, which a report by day and channel has several of.
fn merge(mut rows: Vec<(DayCount, &RawValue)>) -> Option<DayCount> {
    if rows.len() == 1 {
        return rows.pop().map(|(day, _)| day);
    }
    let raw: Vec<&RawValue> = rows.iter().map(|(_, raw)| *raw).collect();
    let all = to_raw_value(&BTreeMap::from([("rows", raw)])).ok()?;
    let conversations = rows.iter().map(|(day, _)| day.conversations).sum();
    let day = rows.first()?.0.day;
    Some(DayCount {
        day,
        conversations,
        content_hash: fingerprint(&all),
        extra: Some(all),
    })
}

fn day_of(raw: &RawValue) -> Option<DayCount> {
    let mut members: Members = serde_json::from_str(raw.get()).ok()?;
    Some(DayCount {
        day: take(&mut members, &DAY, date)?,
        conversations: figure(&mut members, &COUNT, integer)?,
        extra: extra(&members),
        content_hash: fingerprint(raw),
    })
}

fn counts_by_day(members: &Members) -> Option<Vec<DayCount>> {
    if members.is_empty() {
        return None;
    }
    members
        .iter()
        .map(|(name, raw)| {
            let (conversations, extra) = if let Some(count) = integer(raw) {
                let as_it_came = || to_raw_value(&BTreeMap::from([(name, raw)])).ok();
                (count, is_text(raw).then(as_it_came).flatten())
            } else {
                let mut inner: Members = serde_json::from_str(raw.get()).ok()?;
                (figure(&mut inner, &COUNT, integer)?, extra(&inner))
            };
            Some(DayCount {
                day: parse_date(name)?,
                conversations,
                extra,
                content_hash: fingerprint(raw),
            })
        })
        .collect()
}
