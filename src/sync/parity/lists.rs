//! Contacts and conversations: pages of one list.

use std::collections::HashSet;

use rand::RngExt as _;

use super::compare::{Judged, JudgedPage, Judgement, listing_of};
use super::findings::Findings;
use super::{Auditor, Depth};
use crate::allai::Resource;
use crate::sync::Error;
use crate::sync::reader::is_end;
use crate::sync::sweep::{Mode, Proof, Sweep, Verdict};
use crate::warehouse::{Difference, DifferenceKind, UnseenRow};

/// Rows of a sample.
const SAMPLE: u32 = 200;
/// Pages of a sample, however small they are.
const MOST_PAGES: u32 = 20;
/// Pages of a glance.
const GLANCE: u32 = 2;
/// Conversations that are asked for by their ids because the list does not show them; beyond, the list's word is taken.
const ASKED_BY_ID: usize = 200;

/// Compares whole pages at random offsets, and the number of rows.
pub(super) async fn sample(auditor: &Auditor<'_>, stated: Option<u64>, known_unlisted: u64) -> Result<Findings, Error> {
    let (job, resource) = (auditor.job, auditor.resource);
    let (warehouse, account) = (job.warehouse, auditor.account());
    let listing = listing_of(resource);
    let live = warehouse.live_rows(account, resource).await?;
    let page_size = job.account.page_size;
    let last = stated.unwrap_or(live).saturating_sub(u64::from(page_size));
    let mut random = auditor.random();
    let pages = match job.depth {
        Depth::Glance => GLANCE,
        Depth::Sample | Depth::Full => SAMPLE.div_ceil(page_size.max(1)).clamp(1, MOST_PAGES),
    };
    let mut offsets: Vec<u64> = (0..pages).map(|_| random.random_range(0..=last)).collect();
    if job.depth != Depth::Glance {
        // What is new is at either end.
        offsets.extend([0, last]);
    }
    offsets.sort_unstable();
    offsets.dedup();

    let mut found = Findings::default();
    let (mut seen, mut new, mut ends_new) = (HashSet::new(), 0, false);
    let mut total = stated;
    for offset in offsets {
        let page = auditor.look(&listing, &auditor.query(resource, offset)).await?;
        watch_total(auditor, &mut total, &page);
        for row in &page.rows {
            // Of several rows with one id on a page the last is compared.
            if row.judgement != Judgement::Passed && row.id.clone().is_some_and(|id| seen.insert(id)) {
                new += u64::from(row.judgement == Judgement::New);
                found.fresh += u64::from(auditor.is_fresh(row));
                found.count(row, None);
            }
        }
        ends_new |= !page.rows.is_empty() && page.rows.iter().all(|row| row.judgement == Judgement::New);
        distrust(auditor, &page.rows).await?;
    }
    found.rows_mirror = live;
    found.rows_api = total;
    found.unlisted = known_unlisted;
    let Some(total) = total else { return Ok(found) };

    // Bad rows may be in quarantine in several versions, or as they were before they were deleted.
    let quarantined = warehouse.quarantined(account, resource).await?;
    let surplus = live.saturating_sub(total + known_unlisted);
    let shortage = if ends_new {
        0
    } else {
        total.saturating_sub(live + quarantined + new + found.differing)
    };
    if surplus == 0 && shortage == 0 {
        return Ok(found);
    }
    if job.depth == Depth::Glance {
        // The sweep has just counted the rows. It leaves those that the API has and does not list, and more may have come.
        found.unlisted = surplus;
        found.pending += shortage;
        return Ok(found);
    }
    let again = auditor.stated_total(&listing).await?;
    let gone_since = surplus > 0 && (found.fresh > 0 || auditor.has_shrunk(&found));
    if gone_since
        || again != Some(total)
        || warehouse.live_rows(account, resource).await? != live
        || auditor.is_in_motion()
    {
        found.pending += surplus.max(shortage);
        return Ok(found);
    }
    found.count_differs = true;
    found.name(Difference {
        kind: DifferenceKind::Count,
        id: None,
        conversation_id: None,
        fields: Vec::new(),
        api: Some(total),
        mirror: Some(live),
    });
    Ok(found)
}

/// Compares every row, by a sweep that stores nothing.
pub(super) async fn full(auditor: &Auditor<'_>) -> Result<Findings, Error> {
    let (warehouse, account, resource) = (auditor.job.warehouse, auditor.account(), auditor.resource);
    let mut found = Findings::default();
    let sweep = sweep(auditor, Some(&mut found)).await?;
    found.rows_mirror = warehouse.live_rows(account, resource).await?;
    found.rows_api = sweep.total().or(Some(sweep.rows_seen()));
    if let Proof::Unproven(reason) = sweep.proof() {
        tracing::warn!(
            sync.account = account, sync.resource = %resource, reason,
            "it is not proven that every row was compared"
        );
        found.partial = true;
        // Whether the API has what it did not show is an open question, and not for an audit to answer.
        found.pending += found.rows_mirror.saturating_sub(sweep.rows_seen());
        return Ok(found);
    }
    let unseen = warehouse
        .unseen(account, resource, sweep.seen(), sweep.highest_row_num())
        .await?
        .rows;
    let gone = match resource {
        _ if unseen.is_empty() => unseen,
        Resource::Conversations => ask_by_id(auditor, unseen, &mut found).await?,
        _ => {
            let second = self::sweep(auditor, None).await?;
            let missed_twice = |row: &UnseenRow| !second.seen().contains(row.row_num);
            unseen.into_iter().filter(missed_twice).collect()
        }
    };
    for row in gone {
        found.count_extra(extra(&row, None));
    }
    Ok(found)
}

/// Reads the whole list; with `found`, counts what is met for the first time.
async fn sweep(auditor: &Auditor<'_>, mut found: Option<&mut Findings>) -> Result<Sweep, Error> {
    let (warehouse, account, resource) = (auditor.job.warehouse, auditor.account(), auditor.resource);
    let listing = listing_of(resource);
    let highest = warehouse.highest_row_num(account, resource).await?;
    let page_size = auditor.job.account.page_size;
    let mut sweep = Sweep::new(Mode::Full, page_size, auditor.client.server_now(), highest);
    let mut total = None;
    while let Some(request) = sweep.next() {
        let query = auditor.query(resource, request.offset);
        let page = match found {
            Some(_) => auditor.look(&listing, &query).await,
            None => auditor.look_once(&listing, &query).await,
        };
        let page = match page {
            Err(Error::Api(error)) if sweep.looks_behind() && is_end(&error) => {
                sweep.nothing_behind();
                continue;
            }
            page => page?,
        };
        watch_total(auditor, &mut total, &page);
        match page.view(|view| sweep.offer(view)) {
            Verdict::Anchored => {}
            Verdict::Looked => continue,
            Verdict::Broken => {
                auditor.note_motion();
                continue;
            }
        }
        let first_seen = page.view(|view| sweep.absorb(view, &page.marks()));
        if let Some(found) = found.as_deref_mut() {
            for row in page.compared_first(&first_seen) {
                found.fresh += u64::from(auditor.is_fresh(row));
                found.count(row, None);
            }
            distrust(auditor, &page.rows).await?;
        }
    }
    Ok(sweep)
}

/// A stated total that changes tells of a list in motion.
fn watch_total(auditor: &Auditor<'_>, total: &mut Option<u64>, page: &JudgedPage) {
    if let (Some(before), Some(now)) = (*total, page.total)
        && before != now
    {
        auditor.note_motion();
    }
    *total = page.total.or(*total);
}

/// Has the next full sync write those of the rows that differ.
pub(super) async fn distrust(auditor: &Auditor<'_>, rows: &[Judged]) -> Result<(), Error> {
    let differing = rows.iter().filter(|row| row.judgement.is_difference());
    let row_nums: Vec<u64> = differing.filter_map(|row| row.num).collect();
    auditor
        .job
        .warehouse
        .distrust(auditor.account(), auditor.resource, &row_nums)
        .await?;
    Ok(())
}

/// Of conversations that the list does not show, those that do not exist.
async fn ask_by_id(
    auditor: &Auditor<'_>,
    mut unseen: Vec<UnseenRow>,
    found: &mut Findings,
) -> Result<Vec<UnseenRow>, Error> {
    let mut gone = unseen.split_off(unseen.len().min(ASKED_BY_ID));
    let id = ["id".to_owned()];
    for row in unseen {
        let asked = auditor.client.conversation_raw(&row.id, &id);
        match auditor.unless_cancelled(asked).await?? {
            Some(_) => found.unlisted += 1,
            None => gone.push(row),
        }
    }
    Ok(gone)
}

/// A row that the API has not.
pub(super) fn extra(row: &UnseenRow, conversation: Option<&str>) -> Difference {
    Difference {
        kind: DifferenceKind::Extra,
        id: Some(row.id.clone()),
        conversation_id: conversation.map(str::to_owned),
        fields: Vec::new(),
        api: None,
        mirror: None,
    }
}
