//! Messages: the lists of conversations, of some picked at random or of all.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::RngExt as _;

use super::compare::{Judged, Judgement};
use super::findings::Findings;
use super::lists::{distrust, extra};
use super::{Auditor, Depth};
use crate::allai::model::Conversation;
use crate::allai::{Listing, Resource};
use crate::sync::Error;
use crate::sync::reader::is_end;
use crate::sync::sweep::{Mode, Proof, Sweep, Verdict};
use crate::warehouse::{ToRead, UnseenRow};

/// Messages of a sample, or so.
const SAMPLE: u64 = 200;
/// Conversations of a sample, however short they are.
const MOST_LISTS: u32 = 20;
/// Conversations of a glance.
const GLANCE: u32 = 2;
/// Conversations taken from the warehouse at a time.
const BATCH: u32 = 200;

/// Compares the messages of conversations picked at random.
pub(super) async fn sample(auditor: &Auditor<'_>) -> Result<Findings, Error> {
    let (warehouse, account) = (auditor.job.warehouse, auditor.account());
    let highest = warehouse.highest_row_num(account, Resource::Conversations).await?;
    let mut random = auditor.random();
    let mut found = Findings::default();
    let mut picked = BTreeSet::new();
    let lists = match auditor.job.depth {
        Depth::Glance => GLANCE,
        Depth::Sample | Depth::Full => MOST_LISTS,
    };
    for _ in 0..lists {
        if found.compared >= SAMPLE {
            break;
        }
        let after = random.random_range(0..=highest.saturating_sub(1));
        let next = warehouse.conversations_to_read(account, after, 1, ToRead::All).await?;
        if let Some(conversation) = next.first()
            && picked.insert(conversation.row_num)
        {
            found.add(conversation_of(auditor, &conversation.id).await?);
        }
    }
    Ok(found)
}

/// Compares the messages of all conversations.
pub(super) async fn full(auditor: &Auditor<'_>) -> Result<Findings, Error> {
    let (warehouse, account) = (auditor.job.warehouse, auditor.account());
    let mut found = Findings::default();
    let mut after = 0;
    loop {
        let batch = warehouse
            .conversations_to_read(account, after, BATCH, ToRead::All)
            .await?;
        let Some(last) = batch.last() else { return Ok(found) };
        after = last.row_num;
        let mut lists = stream::iter(&batch)
            .map(|conversation| conversation_of(auditor, &conversation.id))
            .buffer_unordered(auditor.job.account.concurrency.max(1));
        while let Some(part) = lists.try_next().await? {
            found.add(part);
        }
    }
}

/// One reading of a conversation's list.
struct Reading {
    /// The rows, each once.
    rows: Vec<Judged>,
    /// Live messages of the mirror that were not listed.
    unseen: Vec<UnseenRow>,
    proven: bool,
}

/// Compares a conversation's list; what differs is read a second time.
async fn conversation_of(auditor: &Auditor<'_>, conversation_id: &str) -> Result<Findings, Error> {
    let mut found = Findings::default();
    let Some(mut reading) = read(auditor, conversation_id).await? else {
        // The next verified sweep of the conversations decides what follows from it.
        found.pending += 1;
        return Ok(found);
    };
    if !reading.unseen.is_empty() {
        let second = read(auditor, conversation_id).await?;
        let again = second.into_iter().flat_map(|reading| reading.unseen);
        let again: BTreeSet<u64> = again.map(|row| row.row_num).collect();
        reading.unseen.retain(|row| again.contains(&row.row_num));
    }
    let differs = |row: &Judged| row.judgement.is_difference();
    if (reading.rows.iter().any(differs) || !reading.unseen.is_empty()) && changed(auditor, conversation_id).await? {
        found.pending += std::mem::take(&mut reading.unseen).len() as u64;
        for row in reading.rows.iter_mut().filter(|row| differs(row)) {
            row.judgement = Judgement::Pending;
        }
    }
    distrust(auditor, &reading.rows).await?;
    let held = |row: &&Judged| row.num.is_some() && row.judgement != Judgement::Deleted;
    found.rows_mirror = (reading.rows.iter().filter(held).count() + reading.unseen.len()) as u64;
    found.rows_api = Some(reading.rows.len() as u64);
    for row in &reading.rows {
        found.count(row, Some(conversation_id));
    }
    found.partial = !reading.proven;
    for row in &reading.unseen {
        found.count_extra(extra(row, Some(conversation_id)));
    }
    Ok(found)
}

/// Whether the conversation changed after the last proof, or is gone: messages do not say when they changed, but their
/// conversation does.
async fn changed(auditor: &Auditor<'_>, conversation_id: &str) -> Result<bool, Error> {
    let fields = ["id", "created_at", "updated_at"].map(str::to_owned);
    let asked = auditor.client.conversation_raw(conversation_id, &fields);
    let Some(raw) = auditor.unless_cancelled(asked).await?? else {
        return Ok(true);
    };
    let changed_at = Conversation::decode(&raw)
        .ok()
        .and_then(|row| row.updated_at.max(row.created_at));
    auditor.watch(changed_at);
    Ok(changed_at.is_some_and(|at| at > auditor.as_of))
}

/// `None` if the conversation is gone.
async fn read(auditor: &Auditor<'_>, conversation_id: &str) -> Result<Option<Reading>, Error> {
    let (warehouse, account) = (auditor.job.warehouse, auditor.account());
    let listing = Listing::Messages {
        conversation_id: conversation_id.to_owned(),
    };
    let page_size = auditor.job.account.page_size;
    let mut sweep = Sweep::new(Mode::Full, page_size, auditor.client.server_now(), u64::MAX)
        .doubting_offset()
        .sparing_requests();
    let mut rows = Vec::new();
    while let Some(request) = sweep.next() {
        let query = auditor.query(Resource::Messages, request.offset);
        let page = match auditor.look(&listing, &query).await {
            Err(Error::Api(error)) if error.is_not_found() => return Ok(None),
            Err(Error::Api(error)) if sweep.looks_behind() && is_end(&error) => {
                sweep.nothing_behind();
                continue;
            }
            page => page?,
        };
        match page.view(|view| sweep.offer(view)) {
            Verdict::Anchored => {}
            Verdict::Looked => continue,
            Verdict::Broken => {
                auditor.note_motion();
                continue;
            }
        }
        let first_seen = page.view(|view| sweep.absorb(view, &page.marks()));
        rows.extend(page.compared_first(&first_seen).into_iter().cloned());
    }
    let proven = sweep.proof() == Proof::Verified;
    let unseen = if proven {
        warehouse
            .unseen_messages(account, conversation_id, sweep.seen())
            .await?
    } else {
        Vec::new()
    };
    Ok(Some(Reading { rows, unseen, proven }))
}
