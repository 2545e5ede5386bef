//! `allai-sync check`, of webhooks: whether AllAI sends the events that the configuration wants, a line an account.

use allai_sync::allai::Priority;
use allai_sync::app;
use allai_sync::config::Config;
use allai_sync::sync::{self, explain};
use allai_sync::webhooks::{Drift, Listed, Standing, Wanted};

use super::check::Findings;
use super::reading;

/// Compares the subscription of an account with the configuration, if it accepts webhooks. Without tables of this version,
/// nothing is remembered.
pub(super) async fn compare(
    config: &Config,
    account: &sync::Account,
    has_tables: bool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let name = &account.name;
    if config.accounts[name].webhook.is_none() {
        return Ok(());
    }
    let what = format!("webhook {name}");
    if config.webhooks.is_none() {
        let why = "accounts that accept webhooks have no listener: add the table [webhooks]";
        findings.doubtful(&what, &why);
        return Ok(());
    }
    let Some(wanted) = Wanted::of(config, name) else {
        findings.good(
            &what,
            "accepted; webhooks.public_url is not set, so nothing is compared",
        );
        return Ok(());
    };
    let remembered = if has_tables {
        let location = app::location(config);
        let read = reading::read(&location, false, async |warehouse| {
            if warehouse.schema_is_current().await? {
                warehouse.subscription(name).await
            } else {
                Ok(None)
            }
        });
        read.await?.flatten()
    } else {
        None
    };
    let client = account.client.with_priority(Priority::Interactive);
    let standing = match Listed::by(&client).await {
        Ok(listed) => Standing::of(listed, &wanted, remembered),
        Err(error) => {
            findings.bad(&what, &explain(name, &error));
            return Ok(());
        }
    };
    let source = match standing.listed {
        Listed::All(_) => "",
        Listed::NotOffered => " (as far as this warehouse remembers: AllAI does not list its webhooks)",
        Listed::Forbidden => " (as far as this warehouse remembers: this API key may not list webhooks)",
    };
    if standing.drift.is_empty() {
        let events = wanted.events.len();
        let how = format!(
            "registered as configured, for {} and {events} events{source}",
            wanted.url
        );
        findings.good(&what, &how);
        return Ok(());
    }
    let drift: Vec<String> = standing.drift.iter().map(Drift::describe).collect();
    let why = format!(
        "{}{source}; run: allai-sync webhooks register --account {name}",
        drift.join("; ")
    );
    if standing.drift.contains(&Drift::Missing) {
        findings.bad(&what, &why);
    } else {
        findings.doubtful(&what, &why);
    }
    Ok(())
}
