//! The analytics reports.
//!
//! The guide shows the overview alone; the shapes of the other two are guessed widely. What is understood goes into
//! columns, everything else is kept as it came, and a report of which nothing is understood is [`Rejected`] whole.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use super::{ContentHash, Json, Rejected};

type Members = BTreeMap<String, Json>;

/// `/analytics/overview`.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Conversations in the period.
    pub total_conversations: Option<i64>,
    /// Share of conversations that were resolved, 0 to 1.
    pub resolution_rate: Option<f64>,
    /// Mean time to an answer, in milliseconds.
    pub avg_response_time_ms: Option<f64>,
    /// Mean rating.
    pub satisfaction_score: Option<f64>,
    /// Conversations by topic; each topic once.
    pub topics: Vec<(String, i64)>,
    /// Conversations by channel; each channel once.
    pub channels: Vec<(String, i64)>,
    /// Every member that has no column or does not fit it; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole report.
    pub content_hash: ContentHash,
    /// The report as the server sent it.
    pub raw: Json,
}

impl Overview {
    /// Reads the report, bare or inside `data` or `overview`. Rejected if it has none of the members of the guide.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        const KNOWN: [&str; 6] = [
            "total_conversations",
            "resolution_rate",
            "avg_response_time_ms",
            "satisfaction_score",
            "top_topics",
            "conversations_by_channel",
        ];
        let mut members = report_members(raw, &["data", "overview"], &KNOWN)?;
        Ok(Self {
            total_conversations: take(&mut members, &["total_conversations"], integer),
            resolution_rate: take(&mut members, &["resolution_rate"], number),
            avg_response_time_ms: take(&mut members, &["avg_response_time_ms"], number),
            satisfaction_score: take(&mut members, &["satisfaction_score"], number),
            topics: take(&mut members, &["top_topics"], |raw| tally(raw, "topic")).unwrap_or_default(),
            channels: take(&mut members, &["conversations_by_channel"], |raw| tally(raw, "channel"))
                .unwrap_or_default(),
            extra: extra(&members),
            content_hash: fingerprint(raw),
            raw: raw.to_owned(),
        })
    }
}

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
    /// Every other member of the row; if the report had several rows of the day, `{"rows": [...]}` with them as they
    /// came. `None` if there is nothing.
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
const COUNT: [&str; 5] = ["count", "conversations", "total", "value", "total_conversations"];

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
        conversations: take(&mut members, &COUNT, integer)?,
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
                (count, None)
            } else {
                let mut inner: Members = serde_json::from_str(raw.get()).ok()?;
                (take(&mut inner, &COUNT, integer)?, extra(&inner))
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

/// `/analytics/satisfaction`.
#[derive(Clone, Debug)]
pub struct Satisfaction {
    /// Mean rating.
    pub average_score: Option<f64>,
    /// Ratings in the period.
    pub total_ratings: Option<i64>,
    /// Every member that has no column or does not fit it; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole report.
    pub content_hash: ContentHash,
    /// The report as the server sent it.
    pub raw: Json,
}

impl Satisfaction {
    /// Reads the report, bare or inside `data` or `satisfaction`. The guide does not show it, so the likely names are
    /// tried. Rejected if it has none of them.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        const SCORE: [&str; 5] = [
            "average_score",
            "satisfaction_score",
            "average_rating",
            "average",
            "score",
        ];
        const RATINGS: [&str; 5] = ["total_ratings", "ratings_count", "total_responses", "total", "count"];
        let known = [SCORE, RATINGS].concat();
        let mut members = report_members(raw, &["data", "satisfaction"], &known)?;
        Ok(Self {
            average_score: take(&mut members, &SCORE, number),
            total_ratings: take(&mut members, &RATINGS, integer),
            extra: extra(&members),
            content_hash: fingerprint(raw),
            raw: raw.to_owned(),
        })
    }
}

/// The members of a report, with those beside its envelope, if at least one is among the known.
fn report_members(raw: &RawValue, envelopes: &[&str], known: &[&str]) -> Result<Members, Rejected> {
    let reject = |reason: String| Rejected {
        id: None,
        reason,
        raw: raw.to_owned(),
    };
    let mut members: Members =
        serde_json::from_str(raw.get()).map_err(|_| reject("the report is not a JSON object".to_owned()))?;
    let has_known = |members: &Members| known.iter().any(|name| members.contains_key(*name));
    if !has_known(&members) {
        let inside = envelopes.iter().find_map(|name| {
            let inner: Members = serde_json::from_str(members.get(*name)?.get()).ok()?;
            has_known(&inner).then_some((*name, inner))
        });
        if let Some((name, inner)) = inside {
            members.remove(name);
            // A name on both levels is kept on the outer one too, under a name of its own.
            for (name, value) in inner {
                if let Some(outer) = members.insert(name.clone(), value) {
                    members.insert(format!("envelope.{name}"), outer);
                }
            }
        }
    }
    if has_known(&members) {
        Ok(members)
    } else {
        Err(reject(format!(
            "the report has none of the members {}",
            known.join(", ")
        )))
    }
}

/// Takes the first of the named members that can be read; the others stay.
fn take<T>(members: &mut Members, names: &[&str], read: impl Fn(&RawValue) -> Option<T>) -> Option<T> {
    names.iter().find_map(|name| {
        let value = read(members.get(*name)?)?;
        members.remove(*name);
        Some(value)
    })
}

fn extra(members: &Members) -> Option<Json> {
    if members.is_empty() {
        return None;
    }
    to_raw_value(members).ok()
}

fn number(raw: &RawValue) -> Option<f64> {
    serde_json::from_str(raw.get()).ok()
}

/// A whole number, also written as `12.0`.
fn integer(raw: &RawValue) -> Option<i64> {
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
fn tally(raw: &RawValue, label: &str) -> Option<Vec<(String, i64)>> {
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

fn date(raw: &RawValue) -> Option<NaiveDate> {
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
fn parse_date(text: &str) -> Option<NaiveDate> {
    let (day, rest) = text.trim().split_at_checked(10)?;
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    (rest.is_empty() || rest.starts_with(['T', ' '])).then_some(day)
}

/// The fingerprint of a value, whatever the order of its members.
fn fingerprint(raw: &RawValue) -> ContentHash {
    let canonical = serde_json::from_str::<serde_json::Value>(raw.get())
        .map_or_else(|_| raw.get().to_owned(), |value| value.to_string());
    let digest = Sha256::digest(canonical.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    ContentHash(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Json {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn days(json: &str) -> Vec<(String, i64)> {
        let report = DailyReport::decode(&raw(json)).unwrap();
        report
            .days
            .iter()
            .map(|day| (day.day.to_string(), day.conversations))
            .collect()
    }

    #[test]
    fn the_overview_of_the_guide_is_understood_whole() {
        let report = Overview::decode(&raw(
            r#"{"total_conversations": 1847, "resolution_rate": 0.82, "avg_response_time_ms": 680,
                "satisfaction_score": 4.3,
                "top_topics": [{"topic": "pricing", "count": 312}, {"topic": "shipping", "count": 287}],
                "conversations_by_channel": {"website": 1203, "whatsapp": 412}}"#,
        ))
        .unwrap();
        assert_eq!(report.total_conversations, Some(1847));
        assert_eq!(report.resolution_rate, Some(0.82));
        assert_eq!(report.avg_response_time_ms, Some(680.0));
        assert_eq!(report.satisfaction_score, Some(4.3));
        assert_eq!(
            report.topics,
            [("pricing".to_owned(), 312), ("shipping".to_owned(), 287)]
        );
        assert_eq!(
            report.channels,
            [("website".to_owned(), 1203), ("whatsapp".to_owned(), 412)]
        );
        assert!(report.extra.is_none());
    }

    #[test]
    fn what_does_not_fit_stays_in_extra() {
        let report = Overview::decode(&raw(
            r#"{"data": {"total_conversations": "many", "new_metric": [1], "resolution_rate": 1,
                "top_topics": [{"topic": "a", "count": 1, "trend": "up"}],
                "conversations_by_channel": [{"channel": "web", "count": 2}, {"channel": "web", "count": 3}]},
                "period": "30d"}"#,
        ))
        .unwrap();
        assert_eq!(report.resolution_rate, Some(1.0));
        assert_eq!(report.channels, [("web".to_owned(), 5)]);
        assert!(report.topics.is_empty());
        let extra: serde_json::Value = serde_json::from_str(report.extra.unwrap().get()).unwrap();
        assert_eq!(
            extra,
            serde_json::json!({
                "total_conversations": "many", "new_metric": [1], "period": "30d",
                "top_topics": [{"topic": "a", "count": 1, "trend": "up"}],
            })
        );
    }

    #[test]
    fn a_report_that_is_not_understood_is_rejected_whole() {
        for json in ["[]", "null", "{}", r#"{"data": 3}"#, r#"{"data": {"x": 1}}"#] {
            assert_eq!(Overview::decode(&raw(json)).unwrap_err().raw.get(), json);
            assert_eq!(Satisfaction::decode(&raw(json)).unwrap_err().raw.get(), json);
        }
        for json in [
            "3",
            "{}",
            r#"{"data": "x"}"#,
            r#"[{"when": 1}]"#,
            r#"{"2026-01-01": 1, "total": 1}"#,
        ] {
            assert_eq!(DailyReport::decode(&raw(json)).unwrap_err().raw.get(), json);
        }
    }

    #[test]
    fn days_are_found_in_every_likely_shape() {
        let expected = [("2026-01-01".to_owned(), 12), ("2026-01-02".to_owned(), 7)];
        for json in [
            r#"[{"date": "2026-01-02", "count": 7}, {"date": "2026-01-01", "count": 12}]"#,
            r#"{"data": [{"day": "2026-01-01", "conversations": 12}, {"day": "2026-01-02", "conversations": 7.0}]}"#,
            r#"{"data": {"series": [{"period": "2026-01-01T00:00:00Z", "value": 12},
                                    {"period": "2026-01-02T00:00:00+02:00", "total": 7}]}}"#,
            r#"{"granularity": "day", "conversations": {"2026-01-01": 12, "2026-01-02": 7}}"#,
            r#"{"results": [{"timestamp": 1767225600, "count": 12}, {"timestamp": 1767312000000, "count": 7}]}"#,
            r#"{"2026-01-01": 12, "2026-01-02": {"total": 7, "closed": 3}}"#,
        ] {
            assert_eq!(days(json), expected, "{json}");
        }
        assert!(days(r#"{"data": [], "period": "30d"}"#).is_empty());
    }

    #[test]
    fn several_rows_of_a_day_are_summed_and_kept() {
        let report = DailyReport::decode(&raw(
            r#"{"period": "2d", "items": [{"date": "2026-01-01", "channel": "web", "count": 2},
                {"date": "2026-01-01", "channel": "api", "count": 3}, {"count": 1}]}"#,
        ))
        .unwrap();
        assert_eq!(report.days[0].conversations, 5);
        assert!(report.days[0].extra.as_ref().unwrap().get().contains("api"));
        assert_eq!(report.extra.unwrap().get(), r#"{"period":"2d"}"#);
        assert_eq!(report.rejected.len(), 1);
    }

    #[test]
    fn a_satisfaction_report_is_found_under_its_likely_names() {
        let report = Satisfaction::decode(&raw(
            r#"{"data": {"average_score": 4.3, "total_ratings": 210, "distribution": {"5":120}}}"#,
        ))
        .unwrap();
        assert_eq!((report.average_score, report.total_ratings), (Some(4.3), Some(210)));
        assert_eq!(report.extra.unwrap().get(), r#"{"distribution":{"5":120}}"#);
        let report = Satisfaction::decode(&raw(r#"{"average": 4, "count": 3}"#)).unwrap();
        assert_eq!((report.average_score, report.total_ratings), (Some(4.0), Some(3)));
    }

    #[test]
    fn the_order_of_members_is_no_change() {
        assert_eq!(
            fingerprint(&raw(r#"{"a":1,"b":2}"#)),
            fingerprint(&raw(r#"{ "b": 2, "a": 1 }"#))
        );
        assert_ne!(fingerprint(&raw(r#"{"a":1}"#)), fingerprint(&raw(r#"{"a":2}"#)));
    }
}
