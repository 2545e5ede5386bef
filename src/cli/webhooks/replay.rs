//! `allai-sync webhooks replay`: applies events again.

use allai_sync::app::App;
use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{EventStatus, Warehouse};
use clap::{ArgGroup, Args};

use super::{Context, Outcome};
use crate::cli::{output, runtime};

/// Has events applied again, by the daemon: what they are about is fetched anew
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["all_dead", "ids"]))]
pub(crate) struct Options {
    /// The ids of the events, as `webhooks events` shows them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that are dead
    #[arg(long)]
    all_dead: bool,
    /// Only the account of this name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        let accounts = super::names(&config, self.account.as_deref())?;
        runtime::block_on(async {
            let app = App::open(&config, SystemClock::shared()).await?;
            let (replayed, outcome) = if self.all_dead {
                let mut replayed = 0;
                for account in &accounts {
                    replayed += app.warehouse.replay_events(account, None).await?;
                }
                (replayed, Outcome::Done)
            } else {
                some(&app.warehouse, &accounts, &self.ids).await?
            };
            app.warehouse.close().await;
            output::print(&match replayed {
                0 => "No event is applied again.\n".to_owned(),
                1 => "1 event is applied again, as soon as the daemon runs.\n".to_owned(),
                more => format!("{more} events are applied again, as soon as the daemon runs.\n"),
            })?;
            Ok(outcome)
        })
    }
}

/// How many of these are applied again; incomplete if there is one that cannot be.
async fn some(warehouse: &Warehouse, accounts: &[&str], ids: &[String]) -> anyhow::Result<(u64, Outcome)> {
    let (mut replayed, mut outcome) = (0, Outcome::Done);
    for id in ids {
        let mut is_known = false;
        for account in accounts {
            let again = warehouse.replay_events(account, Some(std::slice::from_ref(id))).await?;
            if again > 0 {
                is_known = true;
                replayed += again;
                continue;
            }
            match warehouse.event_status(account, id).await? {
                None => continue,
                Some(EventStatus::Pending | EventStatus::Processing) => {
                    output::complain(&format!("{account} {id}: it waits to be applied already"));
                }
                Some(EventStatus::Done | EventStatus::Dead) => {
                    outcome = Outcome::Incomplete;
                    output::complain(&format!(
                        "{account} {id}: what it is about is not known, so it cannot be applied"
                    ));
                }
            }
            is_known = true;
        }
        if !is_known {
            outcome = Outcome::Incomplete;
            output::complain(&format!(
                "there is no event {id}; `allai-sync webhooks events` shows them"
            ));
        }
    }
    Ok((replayed, outcome))
}
