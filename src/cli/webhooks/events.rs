//! `allai-sync webhooks events` and `dead`: what has come, and what became of it.

use allai_sync::app;
use allai_sync::warehouse::{EventRow, EventStatus};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Context, Outcome};
use crate::cli::{output, reading, runtime};

/// Shows the events that have come, the newest first
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only those in this status
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<Status>,
    #[command(flatten)]
    which: Which,
}

/// Shows the events that could not be applied, and why
#[derive(Args, Debug)]
pub(crate) struct DeadOptions {
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
#[group(skip)]
struct Which {
    /// Only the account of this name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// [`EventStatus`], by its names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Pending,
    Processing,
    Done,
    Dead,
}

impl From<Status> for EventStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Processing => Self::Processing,
            Status::Done => Self::Done,
            Status::Dead => Self::Dead,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    events: Vec<EventRow>,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        self.which.show(context, self.status.map(EventStatus::from))
    }
}

impl DeadOptions {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        self.which.show(context, Some(EventStatus::Dead))
    }
}

impl Which {
    fn show(&self, context: &Context, status: Option<EventStatus>) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        let accounts = super::names(&config, self.account.as_deref())?;
        let statuses = match &status {
            Some(status) => std::slice::from_ref(status),
            None => &EventStatus::ALL,
        };
        runtime::block_on(async {
            let location = app::location(&config);
            let events = reading::read(&location, true, async |warehouse| {
                let mut events = Vec::new();
                for account in &accounts {
                    for status in statuses {
                        events.extend(warehouse.events(account, *status, self.limit).await?);
                    }
                }
                Ok(events)
            });
            let mut events = events.await?.unwrap_or_default();
            events.sort_by(|one, other| (other.received_at, &one.id).cmp(&(one.received_at, &other.id)));
            events.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
            if self.json {
                let text = serde_json::to_string(&Report { events }).context("cannot write the report")?;
                output::print(&(text + "\n"))?;
            } else {
                output::print(&describe(&events, status))?;
            }
            Ok(Outcome::Done)
        })
    }
}

fn describe(events: &[EventRow], status: Option<EventStatus>) -> String {
    if events.is_empty() {
        let kind = status.map_or(String::new(), |status| format!("{} ", status.as_str()));
        return format!("There are no {kind}events.\n");
    }
    let is_dead = status == Some(EventStatus::Dead);
    let rows = events.iter().map(|event| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut row = vec![
            event.account.clone(),
            event.id.clone(),
            or_none(&event.event),
            or_none(&event.entity),
            time(event.received_at),
        ];
        if !is_dead {
            row.push(event.status.clone());
        }
        row.push(event.attempts.to_string());
        row.push(or_none(&event.last_error));
        row
    });
    let mut header = vec!["account", "id", "event", "about", "received"];
    if !is_dead {
        header.push("status");
    }
    header.extend(["attempts", if is_dead { "why" } else { "last error" }]);
    let mut text = output::table(&header, rows);
    if is_dead {
        text += "Their bodies are in webhook_events, under these ids. When the cause is mended: allai-sync webhooks replay ID…\n";
    }
    text
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}
