//! Telling people when something needs one: once when it begins, once when it is over.
//!
//! [`conditions`] says from what the warehouse holds what is wrong now; the warehouse keeps an incident for each
//! ([`crate::warehouse::Incident`]), so that of several daemons one tells, and none tells twice; [`Notifier`] tells.

mod conditions;
mod notifier;

use std::time::Duration;

pub use conditions::conditions;
pub use notifier::{Notifier, mail_server};

use crate::clock::SharedClock;
use crate::config::Config;
use crate::warehouse::{self, Warehouse};

/// How often it is looked whether something is wrong.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks what is wrong and tells of what is new. What cannot be told is told later.
pub async fn look(
    warehouse: &Warehouse,
    config: &Config,
    clock: &SharedClock,
    notifier: Option<&Notifier>,
) -> Result<(), warehouse::Error> {
    let accounts: Vec<&str> = config.accounts.keys().map(String::as_str).collect();
    let (standings, jobs) = (warehouse.standings().await?, warehouse.jobs().await?);
    warehouse
        .note_conditions(&conditions(config, &standings, &jobs, clock.now()), &accounts)
        .await?;
    let Some(notifier) = notifier else { return Ok(()) };
    for incident in warehouse.untold_incidents().await? {
        match notifier.tell(&incident).await {
            Ok(()) => warehouse.incident_told(&incident).await?,
            Err(problem) => tracing::warn!(
                sync.account = incident.account,
                alert.kind = incident.kind.as_str(),
                "an alert was not delivered, it is tried again in two minutes: {problem}"
            ),
        }
    }
    Ok(())
}
