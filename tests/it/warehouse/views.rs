//! The views for reports: one small account, and what each view makes of it.

use allai_sync::allai::Resource;
use allai_sync::allai::model::{Contact, Conversation, Record};

use super::harness::{
    ACCOUNT, Place, bare_contact, bare_conversation, commit, conversation, hashed, json, message, nums, time,
};
use super::on_both;

on_both! {
    the_views_count_live_rows,
    leads_are_counted_by_tag_and_source,
    a_response_time_is_from_the_first_question_to_the_first_answer,
}

async fn the_views_count_live_rows(place: Place) {
    let warehouse = place.migrated().await;
    let ended = |id: &str, resolution: &str, minutes: u32| {
        hashed(Record::Conversation(Conversation {
            channel: Some("website".to_owned()),
            status: Some("closed".to_owned()),
            resolution: Some(resolution.to_owned()),
            created_at: Some(time("2026-01-18T23:30:00Z")),
            closed_at: Some(time(&format!("2026-01-18T23:{}:00Z", 30 + minutes))),
            ..bare_conversation(id)
        }))
    };
    let open = hashed(Record::Conversation(Conversation {
        status: Some("active".to_owned()),
        created_at: Some(time("2026-01-19T00:00:00.5Z")),
        ..bare_conversation("v5")
    }));
    let gone = ended("v6", "resolved_by_bot", 1);
    let page = [
        ended("v1", "resolved_by_bot", 10),
        ended("v2", "Resolved_by_agent", 20),
        ended("v3", "handed_off", 3),
        ended("v4", "unresolved", 7),
        open,
        gone,
        conversation("v7", "active"),
    ];
    let nums = nums(&commit(&warehouse, &page).await);
    let at = "2026-01-19T00:10:00Z";
    let messages = [("m1", "v1", "visitor"), ("m2", "v1", "bot"), ("m3", "v6", "bot")];
    commit(&warehouse, &messages.map(|(id, of, role)| message(id, of, role, at))).await;
    warehouse
        .tombstone(ACCOUNT, Resource::Conversations, &[nums[5]])
        .await
        .unwrap();
    assert_eq!(
        place.rows("SELECT * FROM conversations_per_day ORDER BY day").await,
        ["main|2026-01-18|website|4|4|2", "main|2026-01-19|unknown|1|0|0"]
    );
    let rounded = if place.is_sqlite() {
        "CAST(round(avg_minutes_to_close) AS INTEGER)"
    } else {
        "round(avg_minutes_to_close)"
    };
    assert_eq!(
        place
            .rows(&format!(
                "SELECT day, channel, conversations, closed, resolved_by_bot, resolved_by_human, handed_off, \
                 unresolved, {rounded} FROM resolution ORDER BY day"
            ))
            .await,
        ["2026-01-18|website|4|4|1|1|1|1|10", "2026-01-19|unknown|1|0|0|0|0|0|-"]
    );
    assert_eq!(
        place.rows("SELECT * FROM messages_per_day ORDER BY role").await,
        ["main|2026-01-19|bot|1", "main|2026-01-19|visitor|1"]
    );
}

async fn leads_are_counted_by_tag_and_source(place: Place) {
    let warehouse = place.migrated().await;
    let tagged = |id: &str, tags: &str, custom_fields: &str| {
        hashed(Record::Contact(Contact {
            tags: json(tags),
            custom_fields: json(custom_fields),
            ..bare_contact(id)
        }))
    };
    commit(
        &warehouse,
        &[
            tagged("c1", r#"["lead", "vip", "x"]"#, r#"{"source": "ads"}"#),
            tagged("c2", r#"["Lead", "vip"]"#, r#"{"utm_source": "ads"}"#),
            tagged("c3", r#"["lead"]"#, "{}"),
            tagged("c4", r#"["vip"]"#, "{}"),
            tagged("c5", r#"{"lead": 1}"#, "[]"),
            tagged("c6", r#"["lead"]"#, "3"),
        ],
    )
    .await;
    let from = |id: &str, created_at: &str, metadata: &str| {
        hashed(Record::Conversation(Conversation {
            contact_id: Some("c3".to_owned()),
            created_at: Some(time(created_at)),
            metadata: json(metadata),
            ..bare_conversation(id)
        }))
    };
    commit(
        &warehouse,
        &[
            from("v1", "2026-01-02T00:00:00Z", r#"{"source": "mobile_app"}"#),
            from("v2", "2026-01-01T00:00:00Z", r#"{"source": "shop"}"#),
            from("v3", "2025-12-31T00:00:00Z", r#"{"page": "/"}"#),
        ],
    )
    .await;
    assert_eq!(
        place
            .rows("SELECT tag, source, contacts FROM leads ORDER BY tag, source")
            .await,
        ["(none)|shop|1", "(none)|unknown|1", "vip|ads|2", "x|ads|1"]
    );
}

async fn a_response_time_is_from_the_first_question_to_the_first_answer(place: Place) {
    let warehouse = place.migrated().await;
    commit(
        &warehouse,
        &[conversation("v1", "active"), conversation("v2", "active")],
    )
    .await;
    commit(
        &warehouse,
        &[
            message("m0", "v1", "bot", "2026-01-19T09:59:00Z"),
            message("m1", "v1", "visitor", "2026-01-19T10:00:00Z"),
            message("m2", "v1", "visitor", "2026-01-19T10:00:00.5Z"),
            message("m3", "v1", "bot", "2026-01-19T10:00:01.25Z"),
            message("m4", "v1", "agent", "2026-01-19T10:05:00Z"),
            message("m5", "v2", "visitor", "2026-01-19T10:00:00Z"),
        ],
    )
    .await;
    assert_eq!(
        place
            .rows("SELECT conversation_id, answered_by, seconds FROM response_times ORDER BY conversation_id")
            .await,
        ["v1|bot|1.25", "v2|-|-"]
    );
}
