//! Somebody looks whether others are to be told of something.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alerts::Alerts;
use crate::app::{self, App};
use crate::config::{self, Config};

/// The alerts at work; dropped, they stop.
#[derive(Debug)]
pub(super) struct Watching {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watching {
    /// Looks after the jobs of a configuration, which this program keeps since `since`.
    pub(super) fn start(app: &App, config: &Config, since: DateTime<Utc>) -> Self {
        let stop = CancellationToken::new();
        let (warehouse, clock) = (app.warehouse.clone(), Arc::clone(&app.clock));
        let alerts = Alerts::new(config.alerts.clone(), app::plans(config), warehouse, clock, since);
        let alerts = match config.webhooks {
            Some(_) => alerts.receiving(receiving(config)),
            None => alerts,
        };
        let task = tokio::spawn(alerts.watch(stop.clone()));
        Self { stop, task }
    }

    /// What is being told is told to its end, `within` that time.
    pub(super) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// The accounts that AllAI is asked to tell of messages: of what comes, what goes or both, there is hardly one without the other.
fn receiving(config: &Config) -> Vec<String> {
    let is_told = |account: &config::Account| {
        let wants = |webhook: &config::AccountWebhook| {
            webhook.events.is_empty() || webhook.events.iter().any(|event| event.starts_with("message."))
        };
        account.enabled && account.webhook.as_ref().is_some_and(wants)
    };
    let accounts = config.accounts.iter().filter(|(_, account)| is_told(account));
    accounts.map(|(name, _)| name.clone()).collect()
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn silence_counts_only_where_messages_are_told_of() {
        let mut text = String::from("[warehouse]\nurl = \"sqlite://w.db\"\n[webhooks]\n");
        let accounts = [
            ("all", "[]"),
            ("some", r#"["message.sent", "lead.created"]"#),
            ("both", r#"["message.sent", "message.received"]"#),
            ("none", r#"["lead.created"]"#),
        ];
        for (name, events) in accounts {
            let webhook = format!("{{ secret = \"whsec_0123456789abcdef\", events = {events} }}");
            text.push_str(
                &[
                    "[accounts.",
                    name,
                    "]\napi_key = \"ak_test_0123456789\"\nwebhook = ",
                    &webhook,
                    "\n",
                ]
                .concat(),
            );
        }
        let loaded = config::check_text(&text, &BTreeMap::new()).unwrap();
        assert_eq!(receiving(&loaded.config), ["all", "both", "some"]);
    }
}
