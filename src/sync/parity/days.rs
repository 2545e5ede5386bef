//! Conversations a day: the mirror against the API's own report.
//!
//! The report may count otherwise (by another time zone, with deleted conversations), so what differs is kept as
//! information and is no alarm.

use super::AuditJob;
use crate::allai::Resource;
use crate::sync::Error;
use crate::warehouse::{AuditScope, AuditVerdict, Difference, DifferenceKind, ParityAudit};

/// Days named in the journal.
const NAMED: usize = 100;

/// Compares the days that were over when both the report and the conversations were last read; `None` if there is none.
pub(super) async fn audit(job: &AuditJob<'_>) -> Result<Option<ParityAudit>, Error> {
    let account = &job.account.name;
    let proof_began = job.warehouse.last_proof_began(account, Resource::Conversations).await?;
    let Some(before) = proof_began else { return Ok(None) };
    let days = job.warehouse.days_compared(account, before.date_naive()).await?;
    if days.is_empty() {
        return Ok(None);
    }
    let differing = days.iter().filter(|day| day.api != day.mirror);
    let differences = differing.clone().rev().take(NAMED).map(|day| Difference {
        kind: DifferenceKind::Count,
        id: Some(day.day.to_string()),
        conversation_id: None,
        fields: vec!["conversations".to_owned()],
        api: Some(day.api),
        mirror: Some(day.mirror),
    });
    let rows_differing = differing.clone().count() as u64;
    let audit = ParityAudit {
        account: account.clone(),
        resource: Resource::Analytics,
        audited_at: job.clock.now(),
        trigger: job.trigger.to_owned(),
        scope: AuditScope::Full,
        verdict: if rows_differing == 0 {
            AuditVerdict::Equal
        } else {
            AuditVerdict::Noted
        },
        as_of: None,
        rows_api: Some(days.iter().map(|day| day.api).sum()),
        rows_mirror: days.iter().map(|day| day.mirror).sum(),
        rows_compared: days.len() as u64,
        rows_differing,
        rows_pending: 0,
        rows_unlisted: 0,
        differences: differences.collect(),
        requests: 0,
    };
    job.warehouse.save_audit(&audit).await?;
    Ok(Some(audit))
}
