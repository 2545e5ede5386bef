//! The parity audit: the mirror compared with the API by an independent look at both.
//!
//! A sweep proves that it saw every row; the audit shows that what it stored is what the API has. It asks for rows, reads
//! the same rows back from their columns (not their fingerprints), and compares column by column; it counts both sides;
//! and it holds the conversations a day against the API's own report. Whatever differs is read a second time on both
//! sides before it is reported. What the API changed after the last proof is not a difference but news: `behind`.
//!
//! An audit writes a row of `parity_audits`, and one thing more: a row that differs loses its fingerprint, so that the
//! next full sync writes it again, which is always the remedy.

mod compare;
mod days;
mod findings;
mod json;
mod lists;
mod messages;
mod report;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::{Account, Error, Run};
use crate::allai::{Client, Counters, ListQuery, Listing, Priority, Resource};
use crate::clock::SharedClock;
use crate::warehouse::{AuditScope, AuditVerdict, ParityAudit, Warehouse};
use findings::Findings;
pub use report::{describe, remedy};

/// What an audit after a sweep is started by.
const AFTER_SWEEP: &str = "sync";
/// What the clocks of API and program may be apart although they were compared: `Date` has whole seconds.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(2);

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Two pages, or the messages of two conversations: what a sync can afford each time.
    Glance,
    /// Some two hundred rows, and the number of rows.
    Sample,
    /// Every row.
    Full,
}

/// An audit to be made.
#[derive(Debug)]
pub struct AuditJob<'a> {
    /// The account to audit.
    pub account: &'a Account,
    /// Its mirror.
    pub warehouse: &'a Warehouse,
    /// The time.
    pub clock: &'a SharedClock,
    /// How much to compare.
    pub depth: Depth,
    /// What started it: `manual`, `schedule`, …
    pub trigger: &'a str,
    /// Picks the sample; `None` picks another one each time.
    pub seed: Option<u64>,
    /// Its place among the users of the API key.
    pub priority: Priority,
    /// Stops it between two requests.
    pub cancelled: &'a CancellationToken,
}

/// An audit under way.
struct Auditor<'a> {
    job: &'a AuditJob<'a>,
    resource: Resource,
    client: Client,
    /// What the API changed later than this need not be in the mirror.
    as_of: DateTime<Utc>,
    /// The rows the API had at the last proof, if an audit noted them.
    rows_at_proof: Option<u64>,
    /// What it changed later than this, it changed while it was looked at.
    began_at: DateTime<Utc>,
    /// Whether the list was seen to change.
    in_motion: AtomicBool,
    seed: u64,
}

impl Auditor<'_> {
    fn account(&self) -> &str {
        &self.job.account.name
    }

    fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    fn query(&self, resource: Resource, offset: u64) -> ListQuery {
        ListQuery {
            limit: self.job.account.page_size,
            offset,
            fields: self.job.account.fields(resource).to_vec(),
            ..ListQuery::default()
        }
    }

    /// Takes note of when a row changed.
    fn watch(&self, changed_at: Option<DateTime<Utc>>) {
        if changed_at.is_some_and(|at| at > self.began_at) {
            self.note_motion();
        }
    }

    fn note_motion(&self) {
        self.in_motion.store(true, Ordering::Relaxed);
    }

    fn is_in_motion(&self) -> bool {
        self.in_motion.load(Ordering::Relaxed)
    }

    /// Whether the API deleted rows after the last proof, or may have. A deletion leaves no date, but a number: the rows
    /// there were, and those created since, are more than there are.
    fn has_shrunk(&self, found: &Findings) -> bool {
        let (before, now) = (self.rows_at_proof, found.rows_api);
        before.zip(now).is_none_or(|(before, now)| before + found.fresh > now)
    }

    /// How many rows the API says a list has.
    async fn stated_total(&self, listing: &Listing) -> Result<Option<u64>, Error> {
        let query = ListQuery {
            limit: 1,
            fields: vec!["id".to_owned()],
            ..ListQuery::default()
        };
        Ok(self.unless_cancelled(self.client.list(listing, &query)).await??.total)
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.job.cancelled.cancelled() => Err(Error::Cancelled),
            done = work => Ok(done),
        }
    }
}

/// Compares one resource with the API and keeps the result; `None` if it was never synced completely, or, for the
/// analytics, if no day can be compared.
pub async fn audit(job: &AuditJob<'_>, resource: Resource) -> Result<Option<ParityAudit>, Error> {
    if resource == Resource::Analytics {
        return days::audit(job).await;
    }
    let account = &job.account.name;
    let state = job.warehouse.state(account, resource).await?;
    if state.is_none_or(|state| state.last_complete_at.is_none()) {
        return Ok(None);
    }
    let Some(proof_began) = job.warehouse.last_proof_began(account, resource).await? else {
        return Ok(None);
    };
    let client = job.account.client.with_priority(job.priority);
    // The first answer tells what the API's clock says, too.
    let listing = compare::listing_of(resource);
    let auditor = auditor(job, resource, client, DateTime::UNIX_EPOCH);
    let total = auditor.stated_total(&listing).await?;
    let audits = job.warehouse.recent_audits(account, resource, 100).await?;
    let noted = audits
        .iter()
        .find(|audit| audit.trigger == AFTER_SWEEP && audit.audited_at >= proof_began);
    let ahead = auditor.client.server_now() - job.clock.now();
    let auditor = Auditor {
        as_of: noted.and_then(|audit| audit.as_of).unwrap_or(proof_began + ahead) - CLOCK_MARGIN,
        rows_at_proof: noted.map(|audit| audit.rows_api.unwrap_or(audit.rows_mirror)),
        began_at: auditor.client.server_now(),
        ..auditor
    };
    let unlisted = audits.first().map_or(0, |audit| audit.rows_unlisted);
    let mut found = match (resource, job.depth) {
        (Resource::Messages, Depth::Full) => messages::full(&auditor).await?,
        (Resource::Messages, _) => messages::sample(&auditor).await?,
        (_, Depth::Full) => lists::full(&auditor).await?,
        _ => lists::sample(&auditor, total, unlisted).await?,
    };
    if found.extra > 0 {
        let shrank = job.depth == Depth::Full && resource != Resource::Messages && auditor.has_shrunk(&found);
        if shrank || auditor.stated_total(&listing).await? != total {
            auditor.note_motion();
        }
    }
    found.settle_extras(auditor.is_in_motion());
    finish(&auditor, found).await.map(Some)
}

/// Has a look at what a verified sweep left; adds to what the run asked of the API. It never fails the run: what it finds
/// is logged, and kept.
pub(super) async fn after_sweep(run: &Run<'_>, resource: Resource, as_of: DateTime<Utc>) -> Counters {
    let client = run.client.with_priority(Priority::Full);
    let job = AuditJob {
        account: run.job.account,
        warehouse: run.job.warehouse,
        clock: run.job.clock,
        depth: Depth::Glance,
        trigger: AFTER_SWEEP,
        seed: None,
        priority: Priority::Full,
        cancelled: run.job.cancelled,
    };
    let auditor = auditor(&job, resource, client.clone(), as_of - CLOCK_MARGIN);
    if let Err(error) = glance(&auditor).await {
        tracing::info!(
            sync.account = run.account(), sync.resource = %resource, %error,
            "the mirror was not compared with the API this time"
        );
    }
    client.counters()
}

async fn glance(auditor: &Auditor<'_>) -> Result<(), Error> {
    let mut found = match auditor.resource {
        Resource::Messages => messages::sample(auditor).await?,
        _ => lists::sample(auditor, None, 0).await?,
    };
    // The sweep has just judged what is gone; more may have gone since.
    found.settle_extras(true);
    let audit = finish(auditor, found).await?;
    if audit.verdict == AuditVerdict::Differs {
        tracing::warn!(
            sync.account = audit.account, sync.resource = %audit.resource, sync.rows_differing = audit.rows_differing,
            "the mirror differs from the API: {}; {}", describe(&audit), remedy(&audit)
        );
    }
    if auditor.resource == Resource::Conversations {
        days::audit(auditor.job).await?;
    }
    Ok(())
}

fn auditor<'a>(job: &'a AuditJob<'a>, resource: Resource, client: Client, as_of: DateTime<Utc>) -> Auditor<'a> {
    let now = job.clock.now();
    let seed = job.seed.unwrap_or_else(|| now.timestamp_micros().unsigned_abs());
    tracing::debug!(sync.account = job.account.name, sync.resource = %resource, audit.seed = seed, "auditing");
    Auditor {
        job,
        resource,
        as_of,
        rows_at_proof: None,
        began_at: client.server_now(),
        client,
        in_motion: AtomicBool::new(false),
        seed,
    }
}

/// Judges what was found, and keeps it.
async fn finish(auditor: &Auditor<'_>, found: Findings) -> Result<ParityAudit, Error> {
    let job = auditor.job;
    let verdict = if found.differing > 0 || found.count_differs {
        AuditVerdict::Differs
    } else if found.pending > 0 {
        AuditVerdict::Behind
    } else {
        AuditVerdict::Equal
    };
    let audit = ParityAudit {
        account: auditor.account().to_owned(),
        resource: auditor.resource,
        audited_at: job.clock.now(),
        trigger: job.trigger.to_owned(),
        scope: if job.depth == Depth::Full && !found.partial {
            AuditScope::Full
        } else {
            AuditScope::Sample
        },
        verdict,
        as_of: Some(auditor.as_of + CLOCK_MARGIN),
        rows_api: found.rows_api,
        rows_mirror: found.rows_mirror,
        rows_compared: found.compared,
        rows_differing: found.differing,
        rows_pending: found.pending,
        rows_unlisted: found.unlisted,
        differences: found.differences,
        requests: auditor.client.counters().requests,
    };
    job.warehouse.save_audit(&audit).await?;
    Ok(audit)
}
