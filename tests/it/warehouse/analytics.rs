//! Captures of the analytics reports.

use allai_sync::allai::Resource;
use allai_sync::allai::model::{DailyReport, Json, Overview, Satisfaction};
use allai_sync::warehouse::{AnalyticsCapture, AnalyticsCounts, Report};
use chrono::NaiveDate;

use super::harness::{ACCOUNT, Place, json, sendable};
use super::on_both;

on_both! {
    a_capture_is_stored_once_a_day,
    a_report_that_is_not_understood_is_quarantined_and_counts_as_captured,
    a_report_the_database_cannot_hold_does_not_stop_the_others,
}

const OVERVIEW: &str = r#"{"total_conversations": 10, "resolution_rate": 0.5, "avg_response_time_ms": 680,
    "satisfaction_score": 4.5, "top_topics": [{"topic": "prețuri", "count": 7}, {"topic": "stoc", "count": 3}],
    "conversations_by_channel": {"website": 10}, "new": 1}"#;
const DAILY: &str = r#"{"period": "30d", "data": [{"date": "2026-01-18", "count": 4, "closed": 3},
    {"date": "2026-01-19", "count": 6}]}"#;
const SATISFACTION: &str = r#"{"average_score": 4.5, "total_ratings": 2}"#;

fn raw(text: &str) -> Json {
    json(text).unwrap()
}

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 1, day).unwrap()
}

fn capture(captured_on: NaiveDate, overview: &str, daily: &str, satisfaction: &str) -> AnalyticsCapture<'static> {
    AnalyticsCapture {
        period: "30d",
        captured_on,
        overview: Some(Overview::decode(&raw(overview))),
        daily: Some(DailyReport::decode(&raw(daily))),
        satisfaction: Some(Satisfaction::decode(&raw(satisfaction))),
    }
}

async fn a_capture_is_stored_once_a_day(place: Place) {
    let warehouse = place.migrated().await;
    for report in Report::ALL {
        assert!(
            !warehouse
                .analytics_captured(ACCOUNT, report, "30d", day(19))
                .await
                .unwrap()
        );
    }
    let first = capture(day(19), OVERVIEW, DAILY, SATISFACTION);
    let counts = sendable(warehouse.save_analytics(ACCOUNT, &first)).await.unwrap();
    let expected = AnalyticsCounts {
        rows_seen: 4,
        inserted: 4,
        ..AnalyticsCounts::default()
    };
    assert_eq!(counts, expected);
    for report in Report::ALL {
        assert!(
            warehouse
                .analytics_captured(ACCOUNT, report, "30d", day(19))
                .await
                .unwrap()
        );
        assert!(
            !warehouse
                .analytics_captured(ACCOUNT, report, "30d", day(20))
                .await
                .unwrap()
        );
    }
    assert_eq!(
        place
            .rows(
                "SELECT period, captured_on, total_conversations, resolution_rate, satisfaction_score, extra \
                 FROM analytics_overview"
            )
            .await,
        [if place.is_sqlite() {
            "30d|2026-01-19|10|0.5|4.5|{\"new\":1}"
        } else {
            "30d|2026-01-19|10|0.5|4.5|{\"new\": 1}"
        }]
    );
    assert_eq!(
        place
            .rows("SELECT topic, count, rank FROM topics_over_time ORDER BY rank")
            .await,
        ["prețuri|7|1", "stoc|3|2"]
    );
    assert_eq!(
        place.rows("SELECT channel, count FROM analytics_channels").await,
        ["website|10"]
    );
    assert_eq!(
        place
            .rows("SELECT day, conversations FROM analytics_daily ORDER BY day")
            .await,
        ["2026-01-18|4", "2026-01-19|6"]
    );
    assert_eq!(
        place
            .rows("SELECT average_score, total_ratings FROM analytics_satisfaction")
            .await,
        ["4.5|2"]
    );

    let before = place.write_mark().await;
    let counts = warehouse.save_analytics(ACCOUNT, &first).await.unwrap();
    assert_eq!((counts.unchanged, counts.inserted, counts.updated), (4, 0, 0));
    assert_eq!(place.write_mark().await, before);

    let later = DAILY.replace("6}", "8}");
    let counts = warehouse
        .save_analytics(
            ACCOUNT,
            &capture(day(19), &OVERVIEW.replace("stoc", "livrare"), &later, SATISFACTION),
        )
        .await
        .unwrap();
    assert_eq!((counts.unchanged, counts.inserted, counts.updated), (2, 0, 2));
    assert_eq!(
        place.rows("SELECT topic FROM analytics_topics ORDER BY 1").await,
        ["livrare", "prețuri"]
    );
    assert_eq!(
        place
            .rows("SELECT conversations FROM analytics_daily ORDER BY day")
            .await,
        ["4", "8"]
    );
    assert_eq!(warehouse.live_rows(ACCOUNT, Resource::Analytics).await.unwrap(), 2);
}

async fn a_report_that_is_not_understood_is_quarantined_and_counts_as_captured(place: Place) {
    let warehouse = place.migrated().await;
    let capture = capture(day(19), "[]", r#"{"x": 1}"#, SATISFACTION);
    let counts = warehouse.save_analytics(ACCOUNT, &capture).await.unwrap();
    assert_eq!((counts.quarantined, counts.inserted), (2, 1));
    assert!(
        warehouse
            .analytics_captured(ACCOUNT, Report::Daily, "30d", day(19))
            .await
            .unwrap()
    );
    assert_eq!(
        place
            .rows("SELECT resource, raw FROM quarantine ORDER BY raw_hash")
            .await
            .len(),
        2
    );
}

async fn a_report_the_database_cannot_hold_does_not_stop_the_others(place: Place) {
    let warehouse = place.migrated().await;
    let overview = OVERVIEW.replace("stoc", r"st\u0000oc");
    let counts = warehouse
        .save_analytics(ACCOUNT, &capture(day(19), &overview, DAILY, SATISFACTION))
        .await
        .unwrap();
    let expected = if place.is_sqlite() { (0, 4) } else { (1, 3) };
    assert_eq!((counts.quarantined, counts.inserted), expected);
}
