//! The analytics reports.
//!
//! The guide shows one of the three; the shapes of the others are guessed widely, and what is not understood is kept.

use chrono::NaiveDate;
use serde_json::value::RawValue;

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
    /// Every other member; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole report.
    pub content_hash: ContentHash,
}

impl Overview {
    /// Reads the report.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        let _ = raw;
        todo!()
    }
}

/// `/analytics/conversations?granularity=day`.
#[derive(Clone, Debug)]
pub struct DailyReport {
    /// One row a day, by day.
    pub days: Vec<Day>,
    /// Rows that name no day or no count.
    pub rejected: Vec<Rejected>,
    /// What stood beside the rows; `None` if nothing did.
    pub extra: Option<Json>,
}

/// The conversations of a day.
#[derive(Clone, Debug)]
pub struct Day {
    /// The day.
    pub day: NaiveDate,
    /// Conversations on that day.
    pub conversations: i64,
    /// Every other member of the row; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the row.
    pub content_hash: ContentHash,
}

impl DailyReport {
    /// Reads the report.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        let _ = raw;
        todo!()
    }
}

/// `/analytics/satisfaction`.
#[derive(Clone, Debug)]
pub struct Satisfaction {
    /// Mean rating.
    pub average_score: Option<f64>,
    /// Ratings in the period.
    pub total_ratings: Option<i64>,
    /// Every other member; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole report.
    pub content_hash: ContentHash,
}

impl Satisfaction {
    /// Reads the report.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        let _ = raw;
        todo!()
    }
}
