//! An audit in words.

use crate::allai::Resource;
use crate::figures::grouped;
use crate::warehouse::{AuditScope, AuditVerdict, Difference, DifferenceKind, ParityAudit};

/// Differences named in a sentence.
const NAMED: usize = 5;

/// What an audit found, in a line; ids and names of columns, no values.
pub fn describe(audit: &ParityAudit) -> String {
    let compared = grouped(audit.rows_compared);
    if audit.resource == Resource::Analytics {
        return match audit.verdict {
            AuditVerdict::Equal => {
                format!("{compared} days compared, all with as many conversations as the API reports")
            }
            _ => format!(
                "{} of {compared} days have another number of conversations than the API reports, which may count \
                 otherwise: {}",
                grouped(audit.rows_differing),
                named(&audit.differences)
            ),
        };
    }
    let what = match audit.scope {
        AuditScope::Sample => format!("a sample of {compared} rows compared"),
        AuditScope::Full => format!("all {compared} rows compared"),
    };
    match audit.verdict {
        AuditVerdict::Equal => format!("{what}, all equal"),
        AuditVerdict::Behind => format!(
            "{what}, none of them wrong; {} rows changed at the API since the last proof",
            grouped(audit.rows_pending)
        ),
        AuditVerdict::Differs | AuditVerdict::Noted if audit.rows_differing == 0 => {
            format!("{what}, all equal, but {}", named(&audit.differences))
        }
        AuditVerdict::Differs | AuditVerdict::Noted => format!(
            "{what}, {} not equal: {}",
            grouped(audit.rows_differing),
            named(&audit.differences)
        ),
    }
}

/// What to do about an audit's verdict; empty if nothing is to be done.
pub fn remedy(audit: &ParityAudit) -> String {
    let (resource, account) = (audit.resource, &audit.account);
    match audit.verdict {
        AuditVerdict::Equal | AuditVerdict::Noted => String::new(),
        AuditVerdict::Behind => "the next sync brings what is new, the next full sync the rest".to_owned(),
        AuditVerdict::Differs => format!("run: allai-sync sync {resource} --account {account} --full"),
    }
}

fn named(differences: &[Difference]) -> String {
    let mut words: Vec<String> = differences.iter().take(NAMED).map(in_words).collect();
    if differences.len() > NAMED {
        words.push("…".to_owned());
    }
    words.join(", ")
}

fn in_words(difference: &Difference) -> String {
    let id = difference.id.as_deref().unwrap_or_default();
    // An id is the API's: it must not break the line.
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    let mut id = plain(id);
    if let Some(conversation) = &difference.conversation_id
        && !id.is_empty()
    {
        // A message's id need not be unique beyond its conversation.
        id = format!("{id} of {}", plain(conversation));
    }
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), grouped);
    let (api, mirror) = (count(difference.api), count(difference.mirror));
    match difference.kind {
        DifferenceKind::Missing => format!("{id} (missing)"),
        DifferenceKind::Extra => format!("{id} (not in the API)"),
        DifferenceKind::Deleted => format!("{id} (marked as deleted)"),
        DifferenceKind::Columns => format!("{id} ({})", difference.fields.join(", ")),
        DifferenceKind::Count if id.is_empty() => format!("the API states {api} rows and the mirror has {mirror}"),
        DifferenceKind::Count => format!("{id} ({api} in the API, {mirror} in the mirror)"),
    }
}
