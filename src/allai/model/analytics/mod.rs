//! The analytics reports.
//!
//! The guide shows the overview alone; the shapes of the other two are guessed widely. What is understood goes into
//! columns, everything else is kept as it came, and a report of which nothing is understood is [`Rejected`] whole.

mod daily;
mod figures;
#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

pub use daily::{DailyReport, DayCount};
use figures::{Members, extra, figure, fingerprint, integer, number, tally};

use super::{ContentHash, Json, Rejected};

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
    /// Every member that has no column or does not fit it (a figure written as text is read, and kept here as well);
    /// `None` if there is none.
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
            total_conversations: figure(&mut members, &["total_conversations"], integer),
            resolution_rate: figure(&mut members, &["resolution_rate"], number),
            avg_response_time_ms: figure(&mut members, &["avg_response_time_ms"], number),
            satisfaction_score: figure(&mut members, &["satisfaction_score"], number),
            topics: tally(&mut members, "top_topics", "topic"),
            channels: tally(&mut members, "conversations_by_channel", "channel"),
            extra: extra(&members),
            content_hash: fingerprint(raw),
            raw: raw.to_owned(),
        })
    }
}

/// `/analytics/satisfaction`.
#[derive(Clone, Debug)]
pub struct Satisfaction {
    /// Mean rating.
    pub average_score: Option<f64>,
    /// Ratings in the period.
    pub total_ratings: Option<i64>,
    /// Every member that has no column or does not fit it (a figure written as text is read, and kept here as well);
    /// `None` if there is none.
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
            average_score: figure(&mut members, &SCORE, number),
            total_ratings: figure(&mut members, &RATINGS, integer),
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
