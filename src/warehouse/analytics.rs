//! The analytics reports, one capture a day and period.

use chrono::NaiveDate;

use super::Warehouse;
use super::error::Error;
use crate::allai::model::{DailyReport, Overview, Rejected, Satisfaction};

/// One of the three reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// `/analytics/overview`.
    Overview,
    /// `/analytics/conversations`, a row a day.
    Daily,
    /// `/analytics/satisfaction`.
    Satisfaction,
}

impl Report {
    /// All reports.
    pub const ALL: [Self; 3] = [Self::Overview, Self::Daily, Self::Satisfaction];

    /// The name kept in the warehouse.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Daily => "daily",
            Self::Satisfaction => "satisfaction",
        }
    }
}

/// What was fetched of the reports of one period on one day. A report that was not fetched is `None`; one that could
/// not be understood is the rejection.
#[derive(Clone, Debug)]
pub struct AnalyticsCapture<'a> {
    /// The period asked for, e.g. `30d`.
    pub period: &'a str,
    /// The day of the capture, UTC.
    pub captured_on: NaiveDate,
    /// The overview.
    pub overview: Option<Result<Overview, Rejected>>,
    /// The conversations a day.
    pub daily: Option<Result<DailyReport, Rejected>>,
    /// The satisfaction report.
    pub satisfaction: Option<Result<Satisfaction, Rejected>>,
}

/// What saving a capture did, in rows of the analytics tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnalyticsCounts {
    /// Rows given.
    pub rows_seen: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that had changed.
    pub updated: u64,
    /// Rows found as they were.
    pub unchanged: u64,
    /// Reports and rows that went to quarantine.
    pub quarantined: u64,
}

pub(super) const STATEMENTS: &[super::Statement] = &[];

impl Warehouse {
    /// Whether a report of a period was captured on that day.
    pub async fn analytics_captured(
        &self,
        account: &str,
        report: Report,
        period: &str,
        day: NaiveDate,
    ) -> Result<bool, Error> {
        let _ = (account, report, period, day);
        todo!()
    }

    /// Stores a capture in one transaction; rows that are there as they are, are not written.
    pub async fn save_analytics(
        &self,
        account: &str,
        capture: &AnalyticsCapture<'_>,
    ) -> Result<AnalyticsCounts, Error> {
        let _ = (account, capture);
        todo!()
    }
}
