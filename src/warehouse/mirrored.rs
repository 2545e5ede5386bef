//! What the mirrored tables have in common: row numbers, presence and tombstones.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Conn, Statement, in_list, on, reading};
use super::values::{List, Stamp, from_db, to_db};
use crate::allai::Resource;
use crate::allai::model::Record;

/// A live row that a sweep did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenRow {
    /// The API's id.
    pub id: String,
    /// The row's internal number.
    pub row_num: u64,
    /// Since when it has been missing, if an earlier sweep marked it.
    pub missing_since: Option<DateTime<Utc>>,
}

/// The live rows of a resource, against what a sweep saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Live rows looked at, seen or not.
    pub live: u64,
    /// Those that were not seen, by row number.
    pub rows: Vec<UnseenRow>,
}

/// A row to be written, with what it replaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    pub(super) record: &'a Record,
    /// The number it has already.
    pub(super) num: Option<i64>,
    /// From when this version is valid.
    pub(super) changed_at: DateTime<Utc>,
    /// Whether the row as it stands becomes history.
    pub(super) supersedes: bool,
}

/// The statements every mirrored table has.
#[derive(Debug)]
pub(super) struct Statements {
    /// What is known of rows of given ids.
    pub(super) look_up: Statement,
    /// The highest row number of an account.
    pub(super) highest: Statement,
    /// How many rows are live.
    pub(super) live: Statement,
    /// Live rows between two row numbers, by row number.
    pub(super) scan: Statement,
    /// Notes rows as missing.
    pub(super) missing: Statement,
    /// Notes rows as present.
    pub(super) present: Statement,
    /// Tombstones rows. Never before the row's own last change, even if the clock was set back.
    pub(super) tombstone: Statement,
}

macro_rules! statements_of {
    ($table:literal) => {
        statements_of!($table, "")
    };
    ($table:literal, $within:literal) => {
        Statements {
            look_up: in_list!(
                concat!(
                    "SELECT id, row_num, content_hash, changed_at, deleted_at, missing_since IS NOT NULL FROM ",
                    $table,
                    " WHERE account = $1 AND "
                ),
                "id",
                "$2",
                $within
            ),
            highest: Statement::shared(concat!(
                "SELECT coalesce(max(row_num), 0) FROM ",
                $table,
                " WHERE account = $1"
            )),
            live: Statement::shared(concat!(
                "SELECT count(*) FROM ",
                $table,
                " WHERE account = $1 AND deleted_at IS NULL"
            )),
            scan: Statement::shared(concat!(
                "SELECT row_num, id, missing_since FROM ",
                $table,
                " WHERE account = $1 AND row_num > $2 AND row_num <= $3 AND deleted_at IS NULL",
                " ORDER BY row_num LIMIT $4"
            )),
            missing: in_list!(
                concat!("UPDATE ", $table, " SET missing_since = $3 WHERE account = $1 AND "),
                "row_num",
                "$2",
                " AND missing_since IS NULL AND deleted_at IS NULL"
            ),
            present: in_list!(
                concat!("UPDATE ", $table, " SET missing_since = NULL WHERE account = $1 AND "),
                "row_num",
                "$2",
                " AND missing_since IS NOT NULL"
            ),
            tombstone: in_list!(
                concat!(
                    "UPDATE ",
                    $table,
                    " SET deleted_at = CASE WHEN changed_at > $3 THEN changed_at ELSE $3 END, missing_since = NULL",
                    " WHERE account = $1 AND "
                ),
                "row_num",
                "$2",
                " AND deleted_at IS NULL"
            ),
        }
    };
}

const CONTACTS: Statements = statements_of!("contacts");
const CONVERSATIONS: Statements = statements_of!("conversations");
/// The API gives examples such as `msg_001`: a message's id need not be unique beyond its conversation.
const MESSAGES: Statements = statements_of!("messages", " AND conversation_id = $3");
/// Analytics have no rows of their own kind; days stand in for them where rows are counted.
const ANALYTICS: Statements = Statements {
    look_up: NO_ROWS,
    highest: Statement::shared("SELECT count(*) FROM analytics_daily WHERE account = $1"),
    live: Statement::shared("SELECT count(*) FROM analytics_daily WHERE account = $1"),
    scan: NO_ROWS,
    missing: NO_ROWS,
    present: NO_ROWS,
    tombstone: NO_ROWS,
};
const NO_ROWS: Statement = Statement::shared("SELECT NULL WHERE 1 = 0");

/// With a conversation its messages go, …
const TOMBSTONE_MESSAGES: Statement = in_list!(
    "UPDATE messages SET deleted_at = CASE WHEN changed_at > $3 THEN changed_at ELSE $3 END, missing_since = NULL \
     WHERE account = $1 AND deleted_at IS NULL AND conversation_id IN \
     (SELECT id FROM conversations WHERE account = $1 AND ",
    "row_num",
    "$2",
    ")"
);
/// … and should it come back, they are read again.
const FORGET_MESSAGE_STATE: Statement = in_list!(
    "DELETE FROM message_state WHERE account = $1 AND conversation_id IN \
     (SELECT id FROM conversations WHERE account = $1 AND ",
    "row_num",
    "$2",
    ")"
);

pub(super) const fn statements(resource: Resource) -> &'static Statements {
    match resource {
        Resource::Contacts => &CONTACTS,
        Resource::Conversations => &CONVERSATIONS,
        Resource::Messages => &MESSAGES,
        Resource::Analytics => &ANALYTICS,
    }
}

pub(super) fn all_statements() -> Vec<Statement> {
    let of = |s: &Statements| [s.look_up, s.highest, s.live, s.scan, s.missing, s.present, s.tombstone];
    let mut all: Vec<_> = [&CONTACTS, &CONVERSATIONS, &MESSAGES, &ANALYTICS]
        .into_iter()
        .flat_map(of)
        .collect();
    all.extend([TOMBSTONE_MESSAGES, FORGET_MESSAGE_STATE]);
    all
}

/// What the warehouse knows of a row.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) num: i64,
    pub(super) content_hash: String,
    pub(super) changed_at: DateTime<Utc>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) missing: bool,
}

/// How many rows one statement reads or marks.
const BATCH: usize = 5_000;

/// A row of the answer to a look-up, as the statement selects it.
type KnownRow = (String, i64, String, DateTime<Utc>, Option<DateTime<Utc>>, bool);

/// What is known of the rows of these ids; for messages, `conversation` says whose.
pub(super) async fn look_up(
    conn: &mut Conn<'_>,
    statement: Statement,
    account: &str,
    conversation: Option<&str>,
    ids: &[&str],
) -> Result<HashMap<String, Known>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<KnownRow> = on!(conn, inner, dialect => {
        let query = sqlx::query_as(statement.of(dialect)).bind(account).bind(List(ids));
        match conversation {
            Some(conversation) => query.bind(conversation),
            None => query,
        }
        .fetch_all(inner)
        .await
    })
    .doing("looking up rows")?;
    let known = rows
        .into_iter()
        .map(|(id, num, content_hash, changed_at, deleted_at, missing)| {
            let known = Known {
                num,
                content_hash,
                changed_at,
                deleted_at,
                missing,
            };
            (id, known)
        });
    Ok(known.collect())
}

pub(super) async fn note_present(
    conn: &mut Conn<'_>,
    resource: Resource,
    account: &str,
    row_nums: &[i64],
) -> Result<(), Error> {
    if row_nums.is_empty() {
        return Ok(());
    }
    on!(conn, inner, dialect => sqlx::query(statements(resource).present.of(dialect))
        .bind(account)
        .bind(List(row_nums))
        .execute(inner)
        .await
        .map(drop))
    .doing("noting rows as present")
}

/// Runs a statement whose parameters are the account, row numbers and a time; returns how many rows it changed.
async fn mark(
    conn: &mut Conn<'_>,
    statement: Statement,
    account: &str,
    row_nums: &[i64],
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    on!(conn, inner, dialect => sqlx::query(statement.of(dialect))
        .bind(account)
        .bind(List(row_nums))
        .bind(Stamp(now))
        .execute(inner)
        .await
        .map(|done| done.rows_affected()))
    .doing("marking rows")
}

impl Warehouse {
    /// The highest row number in use; 0 if the table holds no row of the account.
    pub async fn highest_row_num(&self, account: &str, resource: Resource) -> Result<u64, Error> {
        self.count(statements(resource).highest, account).await
    }

    /// How many rows are not tombstoned; for analytics, how many days are known.
    pub async fn live_rows(&self, account: &str, resource: Resource) -> Result<u64, Error> {
        self.count(statements(resource).live, account).await
    }

    async fn count(&self, statement: Statement, account: &str) -> Result<u64, Error> {
        let (count,): (i64,) = reading!(self, pool, dialect => sqlx::query_as(statement.of(dialect))
            .bind(account)
            .fetch_one(pool)
            .await)
        .doing("counting rows")?;
        Ok(from_db(count))
    }

    /// The live rows up to and including a row number that are not in `seen`.
    pub async fn unseen(
        &self,
        account: &str,
        resource: Resource,
        seen: &RoaringTreemap,
        up_to_row_num: u64,
    ) -> Result<Unseen, Error> {
        let mut unseen = Unseen::default();
        let mut after = 0;
        if resource == Resource::Analytics {
            return Ok(unseen);
        }
        loop {
            let rows: Vec<(i64, String, Option<DateTime<Utc>>)> =
                reading!(self, pool, dialect => sqlx::query_as(statements(resource).scan.of(dialect))
                    .bind(account)
                    .bind(after)
                    .bind(to_db(up_to_row_num))
                    .bind(to_db(BATCH as u64))
                    .fetch_all(pool)
                    .await)
                .doing("looking for rows that were not seen")?;
            let full = rows.len() == BATCH;
            unseen.live += rows.len() as u64;
            for (row_num, id, missing_since) in rows {
                after = row_num;
                if !seen.contains(from_db(row_num)) {
                    unseen.rows.push(UnseenRow {
                        id,
                        row_num: from_db(row_num),
                        missing_since,
                    });
                }
            }
            if !full {
                return Ok(unseen);
            }
        }
    }

    /// Notes since when rows are missing (now); those already noted keep their time. The note goes when the row is
    /// seen again or tombstoned.
    pub async fn mark_missing(&self, account: &str, resource: Resource, row_nums: &[u64]) -> Result<(), Error> {
        if row_nums.is_empty() || resource == Resource::Analytics {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.begin(account, &[resource]).await?;
        for batch in batches(row_nums) {
            mark(&mut tx.conn(), statements(resource).missing, account, &batch, now).await?;
        }
        tx.commit().await
    }

    /// Marks live rows as deleted; returns how many were live. The live messages of a conversation go with it,
    /// uncounted.
    pub async fn tombstone(&self, account: &str, resource: Resource, row_nums: &[u64]) -> Result<u64, Error> {
        if row_nums.is_empty() || resource == Resource::Analytics {
            return Ok(0);
        }
        let now = self.now();
        let locked: &[Resource] = match resource {
            Resource::Conversations => &[Resource::Conversations, Resource::Messages],
            Resource::Contacts => &[Resource::Contacts],
            _ => &[Resource::Messages],
        };
        let mut tx = self.begin(account, locked).await?;
        let mut deleted = 0;
        for batch in batches(row_nums) {
            let conn = &mut tx.conn();
            deleted += mark(conn, statements(resource).tombstone, account, &batch, now).await?;
            if resource == Resource::Conversations {
                mark(conn, TOMBSTONE_MESSAGES, account, &batch, now).await?;
                on!(conn, inner, dialect => sqlx::query(FORGET_MESSAGE_STATE.of(dialect))
                    .bind(account)
                    .bind(List(&batch))
                    .execute(inner)
                    .await
                    .map(drop))
                .doing("forgetting which messages were read")?;
            }
        }
        tx.commit().await?;
        Ok(deleted)
    }
}

fn batches(row_nums: &[u64]) -> impl Iterator<Item = Vec<i64>> {
    row_nums
        .chunks(BATCH)
        .map(|batch| batch.iter().map(|&num| to_db(num)).collect())
}
