//! What is wrong with webhook events, and with what rules did about them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::warehouse::{self, Condition, InboxSummary, IncidentKind, RunsSummary, Warehouse};

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

/// What is wrong with the runs of these accounts' rules.
pub(super) async fn of_automations(
    warehouse: &Warehouse,
    accounts: BTreeSet<&str>,
) -> Result<Vec<Condition>, warehouse::Error> {
    let summaries = warehouse.runs_summaries(accounts).await?;
    let dead = summaries.into_iter().filter(|summary| summary.dead > 0);
    Ok(dead
        .map(|RunsSummary { account, dead, .. }| Condition {
            resource: String::new(),
            kind: IncidentKind::AutomationsDead,
            summary: format!("{dead} runs of automations of account {account} ended at a step that failed"),
            remedy: format!(
                "see why with: allai-sync automations runs --status dead --account {account}; once that is mended: allai-sync \
                 automations replay --all-dead --account {account}"
            ),
            account,
        })
        .collect())
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
    use crate::warehouse::{Location, RunRecord, RunStatus, Subscription};
    use crate::webhooks::read_event;

    struct Stage {
        warehouse: Warehouse,
        now: DateTime<Utc>,
        _folder: tempfile::TempDir,
    }

    impl Stage {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let location = Location {
                url: format!("sqlite://{}", folder.path().join("w.db").display()),
                schema: String::new(),
            };
            let clock = SystemClock::shared();
            let warehouse = Warehouse::open(&location, Arc::clone(&clock)).await.unwrap();
            warehouse.migrate().await.unwrap();
            Self {
                warehouse,
                now: clock.now(),
                _folder: folder,
            }
        }

        fn ago(&self, minutes: i64) -> DateTime<Utc> {
            self.now - TimeDelta::minutes(minutes)
        }

        /// What is wrong, for a program that has run for 500 minutes.
        async fn found(&self, receiving: &[String]) -> Vec<Condition> {
            conditions(&self.warehouse, BTreeSet::from(["main"]), receiving, self.ago(500))
                .await
                .unwrap()
        }

        async fn kinds(&self, receiving: &[String]) -> Vec<IncidentKind> {
            let found = self.found(receiving).await;
            found.into_iter().map(|condition| condition.kind).collect()
        }

        /// A run, so many minutes ago, that found so many new messages.
        async fn run(&self, minutes: i64, inserted: u64) {
            let at = self.ago(minutes);
            let record = RunRecord {
                status: RunStatus::Complete,
                inserted,
                error: None,
                ..RunRecord::failed("main", Resource::Messages, "schedule", at, at, "")
            };
            self.warehouse.finish_run(&record, None).await.unwrap();
        }
    }

    #[tokio::test]
    async fn events_that_stop_coming_although_there_are_new_messages_are_told_of() {
        let stage = Stage::new().await;
        let main = ["main".to_owned()];
        // Without any event nobody knows whether there should be some.
        stage.run(300, 5).await;
        stage.run(295, 5).await;
        assert_eq!(stage.kinds(&main).await, []);
        let event = read_event("main", br#"{"id":"e","event":"ticket.opened"}"#, stage.ago(200));
        stage.warehouse.store_events(&[event]).await.unwrap();
        // What a run finds at about the same time may have been told of, and what it does not find need not.
        stage.run(195, 5).await;
        stage.run(100, 0).await;
        stage.run(95, 1).await;
        assert_eq!(stage.kinds(&main).await, []);
        stage.run(90, 1).await;
        assert_eq!(stage.kinds(&main).await, [IncidentKind::WebhooksSilent]);
        assert_eq!(stage.kinds(&[]).await, []);
        let dead = read_event("main", b"?", stage.ago(1));
        stage.warehouse.store_events(&[dead]).await.unwrap();
        assert_eq!(stage.kinds(&main).await, [IncidentKind::EventsDead]);
        stage.warehouse.close().await;
    }

    #[tokio::test]
    async fn events_that_never_came_although_they_are_registered_for_are_told_of() {
        let stage = Stage::new().await;
        let main = ["main".to_owned()];
        stage.run(300, 5).await;
        stage.run(295, 5).await;
        let subscription = Subscription {
            account: "main".to_owned(),
            url: "https://hooks.example.ro/webhooks/allai/main".to_owned(),
            webhook_id: None,
            events: vec!["message.received".to_owned()],
            secret_digest: String::new(),
            registered_at: stage.ago(200),
        };
        stage.warehouse.save_subscription(&subscription).await.unwrap();
        // What was found before says nothing of it, nor does what is found just then.
        stage.run(195, 5).await;
        stage.run(100, 1).await;
        assert_eq!(stage.kinds(&main).await, []);
        stage.run(95, 1).await;
        let found = stage.found(&main).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, IncidentKind::WebhooksSilent);
        let since = stage.ago(200).format("since %Y-%m-%d %H:%M UTC").to_string();
        assert!(found[0].summary.contains(&since), "{found:?}");
        assert_eq!(stage.kinds(&[]).await, []);
        // Now one comes.
        let event = read_event("main", br#"{"id":"e","event":"ticket.opened"}"#, stage.ago(1));
        stage.warehouse.store_events(&[event]).await.unwrap();
        assert_eq!(stage.kinds(&main).await, []);
        stage.warehouse.close().await;
    }
}
