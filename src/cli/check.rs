//! `allai-sync check`: whether everything is in place, a line each.

use std::path::Path;

use allai_connectors::Found;
use allai_sync::allai::{self, ListQuery, Listing, Priority, RetryPolicy};
use allai_sync::app;
use allai_sync::clock::SystemClock;
use allai_sync::config::{Config, ContactSync};
use allai_sync::contacts;
use allai_sync::sync;
use allai_sync::warehouse::Warehouse;
use clap::Args;

use super::{Context, Outcome, output, parity, runtime, subscription};

/// Checks the configuration, the warehouse and the API keys; with --parity also what is mirrored
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Compare the mirror with the API: a sample of its rows column by column, and how many there are
    #[arg(long)]
    parity: bool,
    /// Compare every row; takes as many requests as a full sync
    #[arg(long, requires = "parity")]
    full: bool,
    /// Only the account of this name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// What was found, a line each.
#[derive(Default)]
pub(super) struct Findings {
    lines: Vec<String>,
    failed: bool,
}

impl Findings {
    pub(super) fn good(&mut self, what: &str, how: &str) {
        self.lines.push(format!("ok    {what}: {how}\n"));
    }

    /// What is not as it should be, and yet no failure.
    pub(super) fn doubtful(&mut self, what: &str, why: &dyn std::fmt::Display) {
        self.lines.push(format!("warn  {what}: {why}\n"));
    }

    pub(super) fn bad(&mut self, what: &str, why: &dyn std::fmt::Display) {
        self.failed = true;
        self.lines.push(format!("FAIL  {what}: {why}\n"));
    }

    /// Prints what was found since the last time: a comparison of everything takes its time.
    pub(super) fn print_new(&mut self) -> anyhow::Result<()> {
        output::print(&std::mem::take(&mut self.lines).concat())
    }
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let loaded = context.load_config()?;
        super::check_account(&loaded.config, self.account.as_deref())?;
        let mut findings = Findings::default();
        let accounts = loaded.config.accounts.len();
        let plural = if accounts == 1 { "" } else { "s" };
        findings.good("configuration", &format!("valid, {accounts} account{plural}"));
        runtime::block_on(async {
            let has_tables = warehouse(&loaded.config, &mut findings).await;
            let is_readable = !findings.failed;
            let mut accounts = app::accounts(&loaded.config, &SystemClock::shared(), &impatient())?;
            accounts.retain(|account| self.account.as_ref().is_none_or(|name| *name == account.name));
            for account in &accounts {
                if api(account, &mut findings).await {
                    write_permission(&loaded.config, account, &mut findings).await;
                    subscription::compare(&loaded.config, account, has_tables, &mut findings).await?;
                }
            }
            connectors(&loaded.config, &mut findings).await;
            contact_syncs(&loaded.config, &mut findings).await;
            findings.print_new()?;
            if self.parity && has_tables {
                parity::compare(&loaded.config, self.account.as_deref(), self.full, &mut findings).await?;
            } else if self.parity && is_readable {
                parity::nothing_to_compare(&mut findings)?;
            }
            Ok(if findings.failed {
                Outcome::Incomplete
            } else {
                Outcome::Done
            })
        })
    }
}

/// Somebody waits for the answer, and a fault that passes is worth a second try.
pub(super) fn impatient() -> RetryPolicy {
    RetryPolicy {
        attempts: 2,
        ..RetryPolicy::default()
    }
}

/// Has every connector verify what it needs.
async fn connectors(config: &Config, findings: &mut Findings) {
    for (name, connector) in app::connectors(config) {
        for check in connector.check().await {
            let what = format!("connector {name}, {}", check.what);
            match check.found {
                Found::Good(how) => findings.good(&what, &how),
                Found::Bad { problem, remedy } => findings.bad(&what, &format!("{problem}; {remedy}")),
            }
        }
    }
}

/// Compares each mapping of contacts with the fields that the CRM has.
async fn contact_syncs(config: &Config, findings: &mut Findings) {
    let connectors = app::connectors(config);
    for (name, section) in &config.contact_sync {
        let what = format!("contact_sync {name}");
        let Some(connector) = connectors.get(&section.connector) else {
            continue;
        };
        match contacts::check(name, section, connector.as_ref()).await {
            Ok(how) => findings.good(&what, &how),
            Err(problems) => {
                for problem in problems {
                    findings.bad(&what, &problem);
                }
            }
        }
    }
}

/// Returns whether it has the tables of this version, or gets them by itself.
async fn warehouse(config: &Config, findings: &mut Findings) -> bool {
    let location = app::location(config);
    // First, because it must not look while the file is open.
    if let Err(error) = location.check_writable() {
        findings.bad("warehouse", &error);
        return false;
    }
    let warehouse = match Warehouse::open_to_read(&location, SystemClock::shared()).await {
        Ok(Some(warehouse)) => warehouse,
        Ok(None) => {
            let file = location.file().unwrap_or(Path::new("")).display();
            if config.warehouse.migrate {
                findings.good(
                    "warehouse",
                    &format!("{file} does not exist yet; the next sync creates it"),
                );
            } else {
                findings.bad("warehouse", &format!("{file} does not exist: run `allai-sync migrate`"));
            }
            return false;
        }
        Err(error) => {
            findings.bad("warehouse", &error);
            return false;
        }
    };
    let current = warehouse.schema_is_current().await;
    let usable = matches!(&current, Ok(current) if *current || config.warehouse.migrate);
    match current {
        Ok(true) => findings.good("warehouse", "reachable, its tables are up to date"),
        Ok(false) if config.warehouse.migrate => {
            findings.good(
                "warehouse",
                "reachable, its tables are created or upgraded by the next sync",
            );
        }
        Ok(false) => findings.bad(
            "warehouse",
            &"reachable, but its tables are not those of this version: run `allai-sync migrate`",
        ),
        Err(error) => findings.bad("warehouse", &error),
    }
    warehouse.close().await;
    usable
}

/// Returns whether it is worth while to ask for more.
async fn api(account: &sync::Account, findings: &mut Findings) -> bool {
    let client = account.client.with_priority(Priority::Interactive);
    let one = ListQuery {
        limit: 1,
        ..ListQuery::default()
    };
    let what = format!("account {}", account.name);
    let mut readable = Vec::new();
    for resource in ["contacts", "conversations", "analytics"] {
        let answer = match resource {
            "contacts" => client.list(&Listing::Contacts, &one).await.map(drop),
            "conversations" => client.list(&Listing::Conversations, &one).await.map(drop),
            _ => client.analytics_overview("30d").await.map(drop),
        };
        match answer {
            Ok(()) => readable.push(resource),
            Err(error) => {
                findings.bad(&format!("{what}, {resource}"), &sync::explain(&account.name, &error));
                if readable.is_empty() && concerns_all_requests(&error) {
                    return false;
                }
            }
        }
    }
    if !readable.is_empty() {
        let limit = match client.budget().snapshot().limit {
            Some(limit) => format!("{limit} requests a window"),
            None => "the API states no rate limit".to_owned(),
        };
        findings.good(&what, &format!("the key may read {}; {limit}", readable.join(", ")));
    }
    true
}

/// Whether the key may write, if something of the configuration does.
async fn write_permission(config: &Config, account: &sync::Account, findings: &mut Findings) {
    let is_of_account = |section: &ContactSync| {
        let found = config.account(section.account.as_deref());
        !section.back.is_empty() && found.is_some_and(|(name, _)| name == account.name)
    };
    let rules = app::rules(config).into_iter();
    let rules = rules.filter(|rule| rule.account == account.name && rule.writes_to_allai());
    let syncs = config.contact_sync.iter().filter(|(_, section)| is_of_account(section));
    let writers: Vec<String> = rules
        .map(|rule| format!("automation {}", rule.name))
        .chain(syncs.map(|(name, _)| format!("contact_sync {name}")))
        .collect();
    if writers.is_empty() {
        return;
    }
    let what = format!("account {}, writing for {}", account.name, writers.join(", "));
    match account.client.with_priority(Priority::Interactive).may_write().await {
        Ok(true) => findings.good(&what, "the key is not refused"),
        Ok(false) => {
            let problem = format!(
                "the key may only read; make one with write permission in the AllAI Dashboard, Settings > API, and set \
                 accounts.{}.api_key",
                account.name
            );
            findings.bad(&what, &problem);
        }
        Err(error) => findings.bad(&what, &sync::explain(&account.name, &error)),
    }
}

/// Whether every further request would fail in the same way.
fn concerns_all_requests(error: &allai::Error) -> bool {
    error.stops_account() || error.is_unreachable() || matches!(error, allai::Error::Transport { .. })
}
