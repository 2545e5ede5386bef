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
    let mut found = Vec::new();
    for inbox in warehouse.inbox_summaries(accounts).await? {
        if inbox.dead > 0 {
            found.push(dead(&inbox));
        }
        if receiving.contains(&inbox.account)
            && let Some(last) = inbox.last_received_at
        {
            let after = last.max(since) + LATE;
            if warehouse.untold_changes(&inbox.account, after).await? >= UNTOLD {
                found.push(silent(&inbox.account, last));
            }
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
