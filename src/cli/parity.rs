//! `allai-sync check --parity`: whether the mirror is what the API has, a line a resource.

use allai_sync::allai::{Priority, Resource};
use allai_sync::app::App;
use allai_sync::clock::SystemClock;
use allai_sync::config::Config;
use allai_sync::sync::parity::{AuditJob, Depth, audit, describe, remedy};
use allai_sync::sync::{self, explain};
use allai_sync::warehouse::AuditVerdict;

use super::check::Findings;
use super::runtime;

/// Compares what is mirrored of the accounts, or of one, with the API.
pub(super) async fn compare(
    config: &Config,
    only: Option<&str>,
    full: bool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let app = App::open(config, SystemClock::shared()).await?;
    let cancelled = runtime::cancelled_by_signal()?;
    let chosen = |account: &&sync::Account| only.is_none_or(|name| name == account.name);
    for account in app.accounts.iter().filter(chosen) {
        let job = AuditJob {
            account,
            warehouse: &app.warehouse,
            clock: &app.clock,
            depth: if full { Depth::Full } else { Depth::Sample },
            trigger: "manual",
            seed: None,
            priority: if full { Priority::Full } else { Priority::Interactive },
            cancelled: &cancelled,
        };
        let mut begun = Vec::new();
        for resource in Resource::ALL {
            if !app.warehouse.recent_runs(&account.name, resource, 1).await?.is_empty() {
                begun.push(resource);
            }
        }
        for resource in Resource::ALL {
            if begun.is_empty() || begun.contains(&resource) {
                one(&job, resource, findings).await;
            } else {
                findings.doubtful(
                    &format!("parity {} {resource}", account.name),
                    &format!(
                        "not mirrored; if it should be, run: allai-sync sync {resource} --account {}",
                        account.name
                    ),
                );
            }
            findings.print_new()?;
        }
    }
    app.warehouse.close().await;
    Ok(())
}

/// Says that there is nothing to compare.
pub(super) fn nothing_to_compare(findings: &mut Findings) -> anyhow::Result<()> {
    findings.bad("parity", &"nothing is mirrored yet; run: allai-sync sync");
    findings.print_new()
}

async fn one(job: &AuditJob<'_>, resource: Resource, findings: &mut Findings) {
    let account = &job.account.name;
    let what = format!("parity {account} {resource}");
    match audit(job, resource).await {
        Ok(Some(audit)) => {
            let (found, remedy) = (describe(&audit), remedy(&audit));
            let line = if remedy.is_empty() {
                found
            } else {
                format!("{found}; {remedy}")
            };
            match audit.verdict {
                AuditVerdict::Differs => findings.bad(&what, &line),
                AuditVerdict::Equal | AuditVerdict::Behind | AuditVerdict::Noted => findings.good(&what, &line),
            }
        }
        Ok(None) if resource == Resource::Analytics => {
            findings.good(&what, "no day that is over can be compared yet");
        }
        Ok(None) => findings.bad(
            &what,
            &format!("never synced completely; run: allai-sync sync {resource} --account {account}"),
        ),
        Err(sync::Error::Api(error)) => findings.bad(&what, &explain(account, &error)),
        Err(sync::Error::Cancelled) => findings.bad(&what, &"interrupted"),
        Err(error) => findings.bad(&what, &error),
    }
}
