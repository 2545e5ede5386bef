//! One row by itself: asked for, stored as a sweep would, and asked for again where it may be the older of two answers.

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::rows::Rows;
use super::sweep::Request;
use super::{Error, Run, Tally};
use crate::allai::model::{ContentHash, Record, Row};
use crate::allai::{ListQuery, Listing, Resource};
use crate::warehouse::{Asked, Change, PageCommit, RowOutcome};

/// How often a row is asked for that somebody else stores meanwhile.
const ASKS: usize = 4;
/// How many pages of what a search finds are looked through.
const SEARCHED_PAGES: u64 = 3;

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Single {
    /// It is stored, or in quarantine: then there is nothing known of it.
    Stored(Option<Known>),
    /// The API does not have it, or does not find it.
    NotThere,
    /// It is stored by others faster than it can be asked for; last they did it then.
    Doubtful(Option<DateTime<Utc>>),
}

/// A row as it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) row_num: u64,
    pub(super) content_hash: ContentHash,
}

/// Asks for a conversation, which the warehouse was seen to hold since `held`. Rows in `counted` were counted before.
pub(super) async fn conversation(
    run: &Run<'_>,
    id: &str,
    mut held: Option<DateTime<Utc>>,
    counted: Option<&RoaringTreemap>,
) -> Result<Single, Error> {
    let fields = run.job.account.fields(Resource::Conversations);
    for _ in 0..ASKS {
        let asked = asking_now(run, held);
        let asking = run.client.conversation_raw(id, fields);
        let Some(raw) = run.unless_cancelled(asking).await?? else {
            return Ok(Single::NotThere);
        };
        let rows = Rows::read(&Listing::Conversations, vec![raw], true);
        let page = PageCommit {
            account: run.account(),
            resource: Resource::Conversations,
            conversation: None,
            rows: &rows.usable,
            rejected: &rows.rejected,
            asked: Some(asked),
        };
        let outcomes = run.job.warehouse.commit_page(&page, |_| None).await?;
        if let Some(outcome) = outcomes.first().filter(|outcome| outcome.change == Change::Doubtful) {
            held = outcome.changed_at;
            continue;
        }
        let is_counted = |num: Option<u64>, _| num.zip(counted).is_some_and(|(num, counted)| counted.contains(num));
        count(run, &rows.tally(&outcomes, &[true], is_counted));
        let row = rows.usable.first().filter(|row| row.id() == id);
        return Ok(Single::Stored(row.and_then(|row| known(row, outcomes.first()))));
    }
    Ok(Single::Doubtful(held))
}

/// Looks for a contact, which the warehouse was seen to hold since `held`, by what it may be found by, one after the other:
/// the API cannot be asked for it by its id.
pub(super) async fn contact(
    run: &Run<'_>,
    id: &str,
    mut held: Option<DateTime<Utc>>,
    searches: &[String],
) -> Result<Single, Error> {
    for search in searches {
        for _ in 0..ASKS {
            match searched(run, id, held, search).await? {
                Single::NotThere => break,
                Single::Doubtful(since) => held = since,
                stored @ Single::Stored(_) => return Ok(stored),
            }
        }
    }
    Ok(Single::NotThere)
}

async fn searched(run: &Run<'_>, id: &str, held: Option<DateTime<Utc>>, search: &str) -> Result<Single, Error> {
    let mut offset = 0;
    for _ in 0..SEARCHED_PAGES {
        let query = ListQuery {
            limit: run.job.account.page_size,
            offset,
            fields: run.job.account.fields(Resource::Contacts).to_vec(),
            status: None,
            search: Some(search.to_owned()),
        };
        let asked = asking_now(run, held);
        let page = run
            .unless_cancelled(run.client.list(&Listing::Contacts, &query))
            .await??;
        if page.items.is_empty() {
            break;
        }
        offset += page.items.len() as u64;
        let rows = Rows::read(&Listing::Contacts, page.items, false);
        if let Some(row) = rows.usable.into_iter().find(|row| row.id() == id) {
            return store(run, &Listing::Contacts, row, asked).await;
        }
        if page.has_more == Some(false) || page.total.is_some_and(|total| offset >= total) {
            break;
        }
    }
    Ok(Single::NotThere)
}

/// Asks once more for the part of a list in which a row was, which the warehouse was seen to hold since `held`.
pub(super) async fn listed(
    run: &Run<'_>,
    listing: &Listing,
    request: Request,
    id: &str,
    mut held: Option<DateTime<Utc>>,
) -> Result<Single, Error> {
    let query = ListQuery {
        limit: request.limit,
        offset: request.offset,
        fields: run.job.account.fields(listing.resource()).to_vec(),
        status: None,
        search: None,
    };
    for _ in 0..ASKS {
        let asked = asking_now(run, held);
        let page = run.unless_cancelled(run.client.list(listing, &query)).await??;
        let rows = Rows::read(listing, page.items, false);
        let Some(row) = rows.usable.into_iter().find(|row| row.id() == id) else {
            return Ok(Single::NotThere);
        };
        match store(run, listing, row, asked).await? {
            Single::Doubtful(since) => held = since,
            stored => return Ok(stored),
        }
    }
    Ok(Single::Doubtful(held))
}

/// What is asked for now, when the warehouse was seen to hold since `held` what it holds.
fn asking_now(run: &Run<'_>, held: Option<DateTime<Utc>>) -> Asked {
    let at = run.job.clock.now();
    Asked { at, held }
}

/// What a contact can be found by.
pub(super) fn searches(row: &Row) -> Vec<String> {
    let Record::Contact(contact) = row.record() else {
        return Vec::new();
    };
    let texts = [&contact.email, &contact.phone, &contact.name, &Some(contact.id.clone())];
    texts
        .into_iter()
        .flatten()
        .filter(|text| !text.trim().is_empty())
        .cloned()
        .collect()
}

/// Stores a row that was counted before, or is not counted.
async fn store(run: &Run<'_>, listing: &Listing, row: Row, asked: Asked) -> Result<Single, Error> {
    let rows = [row];
    let page = PageCommit {
        account: run.account(),
        resource: listing.resource(),
        conversation: listing.conversation_id(),
        rows: &rows,
        rejected: &[],
        asked: Some(asked),
    };
    let outcomes = run.job.warehouse.commit_page(&page, |_| None).await?;
    let mut tally = Tally::default();
    for outcome in &outcomes {
        if outcome.change == Change::Doubtful {
            return Ok(Single::Doubtful(outcome.changed_at));
        }
        tally.count(outcome.change, false);
    }
    count(run, &tally);
    Ok(Single::Stored(known(&rows[0], outcomes.first())))
}

fn known(row: &Row, outcome: Option<&RowOutcome>) -> Option<Known> {
    let outcome = outcome.filter(|outcome| outcome.change != Change::Quarantined)?;
    Some(Known {
        row_num: outcome.num?,
        content_hash: row.record().content_hash(),
    })
}

fn count(run: &Run<'_>, counted: &Tally) {
    run.tally().add(counted);
    run.job.progress.wrote(counted.written());
    run.job.progress.advance(counted.rows_seen);
}
