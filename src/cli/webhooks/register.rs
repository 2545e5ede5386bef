//! `allai-sync webhooks register`: that AllAI sends the events that the configuration wants.

use std::fmt::Write as _;
use std::sync::Arc;

use allai_sync::allai::Priority;
use allai_sync::app::App;
use allai_sync::clock::SystemClock;
use allai_sync::sync::explain;
use allai_sync::webhooks::{self, Action, Registration, register};
use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{Context, Outcome};
use crate::cli::{output, runtime};

/// Makes sure that AllAI sends its events here: once for each account with a webhook
///
/// Run it after a change of the address, the events or the secret, as often as you like.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only the account of this name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Register even if it seems to be registered as it should be
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    registrations: Vec<Registration>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    account: String,
    error: String,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        runtime::block_on(async {
            let wanted = super::wanted(&config, self.account.as_deref())?;
            let app = App::open(&config, SystemClock::shared()).await?;
            let mut report = Report {
                registrations: Vec::new(),
                failures: Vec::new(),
            };
            for wanted in &wanted {
                let Some(account) = app.accounts.iter().find(|account| account.name == wanted.account) else {
                    continue;
                };
                let client = account.client.with_priority(Priority::Interactive);
                let clock = Arc::clone(&app.clock);
                match register(&client, &app.warehouse, &clock, wanted, self.force).await {
                    Ok(registration) => report.registrations.push(registration),
                    Err(error) => report.failures.push(Failure {
                        account: wanted.account.clone(),
                        error: match &error {
                            webhooks::RegisterError::Api(error) => explain(&wanted.account, error),
                            error => error.to_string(),
                        },
                    }),
                }
            }
            app.warehouse.close().await;
            for failure in &report.failures {
                output::complain(&format!("{}: {}", failure.account, failure.error));
            }
            if self.json {
                let text = serde_json::to_string(&report).context("cannot write the report")?;
                output::print(&(text + "\n"))?;
            } else {
                let lines: String = report.registrations.iter().map(describe).collect();
                output::print(&lines)?;
            }
            let is_done = report.failures.is_empty() && report.registrations.iter().all(|done| done.drift.is_empty());
            Ok(if is_done { Outcome::Done } else { Outcome::Incomplete })
        })
    }
}

fn describe(done: &Registration) -> String {
    let Registration { account, url, .. } = done;
    let events = if done.events.len() == 1 { "event" } else { "events" };
    let what = match done.action {
        Action::Unchanged => "is registered already",
        Action::Created => "is registered now",
        Action::Updated => "is registered anew, in place",
        Action::Replaced => "is registered anew",
    };
    let mut text = format!("{account}: {url} {what}, for {} {events}", done.events.len());
    if done.action == Action::Unchanged && !done.listed {
        text += "; as far as this warehouse remembers: AllAI does not list its webhooks. --force registers it anyway";
    }
    if done.removed > 0 {
        let _ = write!(text, "; others removed: {}", done.removed);
    }
    text.push('\n');
    if !done.left_over.is_empty() {
        let _ = writeln!(
            text,
            "{account}: AllAI offers no way to remove the old subscription ({}): remove it in the AllAI Dashboard. Until then \
             events may come twice, which does no harm; if it was registered with a secret that has been replaced, keep that as \
             previous_secret until it is removed, or what it sends is refused",
            done.left_over.join(", ")
        );
    }
    for drift in &done.drift {
        let _ = writeln!(text, "{account}: AllAI took it, and yet {}", drift.describe());
    }
    text
}
