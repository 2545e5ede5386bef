//! The journal of audits is bounded, and the view on it takes the last.

use allai_sync::allai::Resource;
use allai_sync::warehouse::{AuditScope, AuditVerdict, Difference, DifferenceKind, ParityAudit};

use super::harness::{ACCOUNT, Place, time};
use super::on_both;

on_both! {
    the_last_hundred_audits_of_each_resource_are_kept,
    the_health_of_the_mirror_is_that_of_the_last_audit,
}

fn audit(resource: Resource) -> ParityAudit {
    ParityAudit {
        account: ACCOUNT.to_owned(),
        resource,
        audited_at: time("2026-01-19T10:00:00Z"),
        trigger: "test".to_owned(),
        scope: AuditScope::Full,
        verdict: AuditVerdict::Equal,
        as_of: Some(time("2026-01-19T09:59:59.5Z")),
        rows_api: Some(200),
        rows_mirror: 200,
        rows_compared: 200,
        rows_differing: 0,
        rows_pending: 0,
        rows_unlisted: 0,
        differences: Vec::new(),
        requests: 3,
    }
}

async fn the_last_hundred_audits_of_each_resource_are_kept(place: Place) {
    let warehouse = place.migrated().await;
    let mut contacts = audit(Resource::Contacts);
    warehouse.save_audit(&audit(Resource::Messages)).await.unwrap();
    for _ in 0..130 {
        contacts.audited_at += chrono::TimeDelta::seconds(1);
        contacts.rows_compared += 1;
        warehouse.save_audit(&contacts).await.unwrap();
    }
    let count = "SELECT resource, count(*) FROM parity_audits GROUP BY resource ORDER BY resource";
    assert_eq!(place.rows(count).await, ["contacts|100", "messages|1"]);
    let last = warehouse.recent_audits(ACCOUNT, Resource::Contacts, 2).await.unwrap();
    assert_eq!(last[0], contacts);
    assert_eq!(last[1].rows_compared, contacts.rows_compared - 1);
    // Of one moment, the last word counts.
    contacts.verdict = AuditVerdict::Behind;
    warehouse.save_audit(&contacts).await.unwrap();
    let last = warehouse.recent_audits(ACCOUNT, Resource::Contacts, 1).await.unwrap();
    assert_eq!(last, [contacts]);
}

async fn the_health_of_the_mirror_is_that_of_the_last_audit(place: Place) {
    let warehouse = place.migrated().await;
    warehouse.save_audit(&audit(Resource::Contacts)).await.unwrap();
    let later = ParityAudit {
        audited_at: time("2026-01-19T11:00:00Z"),
        verdict: AuditVerdict::Differs,
        rows_mirror: 150,
        rows_differing: 1,
        differences: vec![Difference {
            kind: DifferenceKind::Columns,
            id: Some("c'1\"".to_owned()),
            conversation_id: None,
            fields: vec!["email".to_owned()],
            api: None,
            mirror: None,
        }],
        ..audit(Resource::Contacts)
    };
    warehouse.save_audit(&later).await.unwrap();
    let nothing = ParityAudit {
        rows_api: Some(0),
        rows_mirror: 0,
        ..audit(Resource::Messages)
    };
    warehouse.save_audit(&nothing).await.unwrap();
    let last = warehouse.recent_audits(ACCOUNT, Resource::Contacts, 1).await.unwrap();
    assert_eq!(last, [later]);
    let health = "SELECT resource, verdict, rows_mirror, rows_api, CAST(completeness * 100 AS INTEGER), \
                  freshness_seconds, rows_differing FROM mirror_health ORDER BY resource";
    assert_eq!(
        place.rows(health).await,
        ["contacts|differs|150|200|75|-|1", "messages|equal|0|0|100|-|0"]
    );
}
