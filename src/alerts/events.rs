//! What is wrong with webhook events.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::warehouse::{self, Condition, InboxSummary, IncidentKind, Warehouse};

/// An event may be a little late, and a run may find first what it tells of.
const LATE: TimeDelta = TimeDelta::minutes(10);
/// So many runs that found what no event told of are no coincidence.
const UNTOLD: u64 = 2;

/// What is wrong with the events of these accounts, for a program that looks after them since `since`; of `receiving`, every
/// message should be told of by an event.
pub(super) async fn conditions(
    warehouse: &Warehouse,
    accounts: BTreeSet<&str>,
    receiving: &[String],
    since: DateTime<Utc>,
) -> Result<Vec<Condition>, warehouse::Error> {
    let inboxes = warehouse.inbox_summaries(accounts).await?;
    let mut found: Vec<Condition> = inboxes.iter().filter(|inbox| inbox.dead > 0).map(dead).collect();
    for account in receiving {
        let its = inboxes.iter().find(|inbox| inbox.account == *account);
        let last = match its.and_then(|inbox| inbox.last_received_at) {
            Some(last) => Some(last),
            // None has ever come, or the last one is forgotten.
            None => warehouse.subscription(account).await?.map(|known| known.registered_at),
        };
        let Some(last) = last else { continue };
        if warehouse.untold_changes(account, last.max(since) + LATE).await? >= UNTOLD {
            found.push(silent(account, last));
        }
    }
    Ok(found)
}

fn dead(inbox: &InboxSummary) -> Condition {
    let account = &inbox.account;
    Condition {
        account: account.clone(),
        resource: String::new(),
        kind: IncidentKind::EventsDead,
        summary: format!(
            "{} webhook events of account {account} could not be applied",
            inbox.dead
        ),
        remedy: format!(
            "see why with: allai-sync webhooks dead --account {account}; once that is mended: allai-sync webhooks replay \
             --all-dead --account {account}"
        ),
    }
}

fn silent(account: &str, last: DateTime<Utc>) -> Condition {
    Condition {
        account: account.to_owned(),
        resource: String::new(),
        kind: IncidentKind::WebhooksSilent,
        summary: format!(
            "no webhook events of account {account} have come since {}, although there are new messages: they are found by \
             the schedules alone",
            last.format("%Y-%m-%d %H:%M UTC")
        ),
        remedy: format!(
            "check that AllAI still reaches webhooks.public_url, and run: allai-sync webhooks register --account {account}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::allai::Resource;
    use crate::clock::SystemClock;
    use crate::warehouse::{Location, RunRecord, RunStatus};
    use crate::webhooks::read_event;

    #[tokio::test]
    async fn events_that_stop_coming_although_there_are_new_messages_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            url: format!("sqlite://{}", folder.path().join("w.db").display()),
            schema: String::new(),
        };
        let clock = SystemClock::shared();
        let warehouse = Warehouse::open(&location, Arc::clone(&clock)).await.unwrap();
        warehouse.migrate().await.unwrap();
        let now = clock.now();
        let ago = |minutes| now - TimeDelta::minutes(minutes);
        let kinds = async |receiving: &[String]| {
            let found = conditions(&warehouse, BTreeSet::from(["main"]), receiving, ago(500))
                .await
                .unwrap();
            found.into_iter().map(|condition| condition.kind).collect::<Vec<_>>()
        };
        let run = async |minutes, inserted| {
            let record = RunRecord {
                status: RunStatus::Complete,
                inserted,
                error: None,
                ..RunRecord::failed("main", Resource::Messages, "schedule", ago(minutes), ago(minutes), "")
            };
            warehouse.finish_run(&record, None).await.unwrap();
        };
        let main = ["main".to_owned()];
        // Without any event nobody knows whether there should be some.
        run(300, 5).await;
        run(295, 5).await;
        assert_eq!(kinds(&main).await, []);
        let event = read_event("main", br#"{"id":"e","event":"ticket.opened"}"#, ago(200));
        warehouse.store_events(&[event]).await.unwrap();
        // What a run finds at about the same time may have been told of, and what it does not find need not.
        run(195, 5).await;
        run(100, 0).await;
        run(95, 1).await;
        assert_eq!(kinds(&main).await, []);
        run(90, 1).await;
        assert_eq!(kinds(&main).await, [IncidentKind::WebhooksSilent]);
        assert_eq!(kinds(&[]).await, []);
        let dead = read_event("main", b"?", ago(1));
        warehouse.store_events(&[dead]).await.unwrap();
        assert_eq!(kinds(&main).await, [IncidentKind::EventsDead]);
        warehouse.close().await;
    }
}
