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

fn value(json: Option<&RawValue>) -> serde_json::Value {
    serde_json::from_str(json.unwrap().get()).unwrap()
}

#[test]
fn figures_written_as_text_are_read_and_kept_as_they_came() {
    let text = r#"{"total_conversations": "60", "resolution_rate": "0.82", "avg_response_time_ms": " 680.5 ",
        "satisfaction_score": "4.3", "top_topics": [{"topic": "pricing", "count": "312"}, {"topic": "other", "count": 1}],
        "conversations_by_channel": {"website": "40", "whatsapp": "20.0"}}"#;
    let report = Overview::decode(&raw(text)).unwrap();
    assert_eq!(report.total_conversations, Some(60));
    assert_eq!(report.resolution_rate, Some(0.82));
    assert_eq!(report.avg_response_time_ms, Some(680.5));
    assert_eq!(report.satisfaction_score, Some(4.3));
    assert_eq!(report.topics, [("pricing".to_owned(), 312), ("other".to_owned(), 1)]);
    assert_eq!(
        report.channels,
        [("website".to_owned(), 40), ("whatsapp".to_owned(), 20)]
    );
    assert_eq!(value(report.extra.as_deref()), value(Some(&raw(text))));

    let text = r#"{"average_score": "4.5", "total_ratings": "210"}"#;
    let report = Satisfaction::decode(&raw(text)).unwrap();
    assert_eq!((report.average_score, report.total_ratings), (Some(4.5), Some(210)));
    assert_eq!(value(report.extra.as_deref()), value(Some(&raw(text))));
}

#[test]
fn counts_by_day_written_as_text_are_read_and_kept_as_they_came() {
    for (json, extra) in [
        (
            r#"[{"date": "2026-01-01", "count": "12", "closed": 3}]"#,
            r#"{"count": "12", "closed": 3}"#,
        ),
        (r#"{"data": {"2026-01-01": "12"}}"#, r#"{"2026-01-01": "12"}"#),
        (r#"{"2026-01-01": {"total": "12"}}"#, r#"{"total": "12"}"#),
    ] {
        assert_eq!(days(json), [("2026-01-01".to_owned(), 12)], "{json}");
        let report = DailyReport::decode(&raw(json)).unwrap();
        assert_eq!(
            value(report.days[0].extra.as_deref()),
            value(Some(&raw(extra))),
            "{json}"
        );
    }
}

#[test]
fn a_text_that_is_no_figure_is_none() {
    for text in ["", "many", "NaN", "inf", "1e999", "1,5", "0x10", "12.5"] {
        let json = format!(r#"{{"total_conversations": "{text}", "top_topics": {{"a": "{text}"}}}}"#);
        let report = Overview::decode(&raw(&json)).unwrap();
        assert_eq!((report.total_conversations, report.topics.len()), (None, 0), "{text}");
        assert_eq!(value(report.extra.as_deref()), value(Some(&raw(&json))), "{text}");
    }
    for text in ["", "many", "NaN", "inf", "1e999"] {
        let report = Satisfaction::decode(&raw(&format!(r#"{{"score": "{text}", "total": null}}"#))).unwrap();
        assert_eq!((report.average_score, report.total_ratings), (None, None), "{text}");
    }
}

#[test]
fn the_order_of_members_is_no_change() {
    assert_eq!(
        fingerprint(&raw(r#"{"a":1,"b":2}"#)),
        fingerprint(&raw(r#"{ "b": 2, "a": 1 }"#))
    );
    assert_ne!(fingerprint(&raw(r#"{"a":1}"#)), fingerprint(&raw(r#"{"a":2}"#)));
}
