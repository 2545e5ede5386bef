//! What the mirrored tables have in common: row numbers, presence and tombstones.

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Conn, Statement, in_list, on, reading};
use super::values::{List, Stamp, from_db, to_db};
use crate::allai::Resource;
use crate::allai::model::Row;

/// A live row that a sweep did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenRow {
    /// The API's id.
    pub id: String,
    /// The row's internal number.
    pub row_num: u64,
    /// When the API said it was created, where that was asked for (for a message: sent).
    pub created_at: Option<DateTime<Utc>>,
    /// Since when it has been missing, if an earlier sweep marked it.
    pub missing_since: Option<DateTime<Utc>>,
}

type ScannedRow = (i64, String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

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
    pub(super) row: &'a Row,
    /// The number it has already, or is given.
    pub(super) num: Option<i64>,
    /// From when this version is valid.
    pub(super) changed_at: DateTime<Utc>,
    /// Whether the row as it stands becomes history.
    pub(super) supersedes: bool,
}

/// The statements every mirrored table has.
#[derive(Debug)]
pub(super) struct Statements {
    /// The highest row number of an account.
    pub(super) highest: Statement,
    /// How many rows are live.
    pub(super) live: Statement,
    /// How many rows there are between two row numbers, live or not.
    pub(super) known: Statement,
    /// The numbers of tombstoned rows between two row numbers, in order.
    pub(super) tombstoned: Statement,
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
    ($table:literal, $created_at:literal) => {
        Statements {
            highest: Statement::shared(concat!(
                "SELECT coalesce(max(row_num), 0) FROM ",
                $table,
                " WHERE account = $1"
            )),
            // Each half needs an index only, the table neither.
            live: Statement::shared(concat!(
                "SELECT (SELECT count(*) FROM ",
                $table,
                " WHERE account = $1 AND row_num > 0) - (SELECT count(*) FROM ",
                $table,
                " WHERE account = $1 AND row_num > 0 AND deleted_at IS NOT NULL)"
            )),
            known: Statement::shared(concat!(
                "SELECT count(*) FROM ",
                $table,
                " WHERE account = $1 AND row_num > $2 AND row_num <= $3"
            )),
            tombstoned: Statement::shared(concat!(
                "SELECT row_num FROM ",
                $table,
                " WHERE account = $1 AND row_num > $2 AND row_num <= $3 AND deleted_at IS NOT NULL",
                " ORDER BY row_num LIMIT $4"
            )),
            scan: Statement::shared(concat!(
                "SELECT row_num, id, ",
                $created_at,
                ", missing_since FROM ",
                $table,
                " WHERE account = $1 AND row_num > $2 AND row_num <= $3 AND deleted_at IS NULL ORDER BY row_num"
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

const CONTACTS: Statements = statements_of!("contacts", "created_at");
const CONVERSATIONS: Statements = statements_of!("conversations", "created_at");
const MESSAGES: Statements = statements_of!("messages", "sent_at");
/// Analytics have no rows of their own kind; days stand in for them where rows are counted.
const ANALYTICS: Statements = Statements {
    highest: Statement::shared("SELECT count(*) FROM analytics_daily WHERE account = $1"),
    live: Statement::shared("SELECT count(*) FROM analytics_daily WHERE account = $1"),
    known: NO_ROWS,
    tombstoned: NO_ROWS,
    scan: NO_ROWS,
    missing: NO_ROWS,
    present: NO_ROWS,
    tombstone: NO_ROWS,
};
const NO_ROWS: Statement = Statement::shared("SELECT NULL WHERE 1 = 0");

macro_rules! live_of {
    ($table:literal) => {
        concat!(
            " WHEN '",
            $table,
            "' THEN (SELECT count(*) FROM ",
            $table,
            " t WHERE t.account = l.account AND t.row_num > 0) - (SELECT count(*) FROM ",
            $table,
            " t WHERE t.account = l.account AND t.row_num > 0 AND t.deleted_at IS NOT NULL)"
        )
    };
}
/// What `live` says, of the lists that were never complete. Of the others `sync_state` says it.
const LIVE_OF_INCOMPLETE: Statement = Statement::shared(concat!(
    // The names of the accounts are looked up one after the other: the journal grows for years.
    "WITH RECURSIVE journal (account) AS (SELECT min(account) FROM sync_runs UNION ALL \
     SELECT (SELECT min(n.account) FROM sync_runs n WHERE n.account > j.account) FROM journal j \
     WHERE j.account IS NOT NULL), \
     accounts (account) AS (SELECT account FROM journal WHERE account IS NOT NULL UNION SELECT account FROM sync_state), \
     resources (resource) AS (VALUES ('contacts'), ('conversations'), ('messages'), ('analytics')), \
     lists (account, resource) AS (SELECT a.account, r.resource FROM accounts a CROSS JOIN resources r \
     WHERE NOT EXISTS (SELECT 1 FROM sync_state s WHERE s.account = a.account AND s.resource = r.resource \
     AND s.last_complete_at IS NOT NULL)) \
     SELECT l.account, l.resource, CASE l.resource",
    live_of!("contacts"),
    live_of!("conversations"),
    live_of!("messages"),
    " ELSE (SELECT count(*) FROM analytics_daily t WHERE t.account = l.account) END FROM lists l"
));

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
    let of = |s: &Statements| {
        let counts = [s.highest, s.live, s.known, s.tombstoned, s.scan];
        counts.into_iter().chain([s.missing, s.present, s.tombstone])
    };
    let mut all: Vec<_> = [&CONTACTS, &CONVERSATIONS, &MESSAGES, &ANALYTICS]
        .into_iter()
        .flat_map(of)
        .collect();
    all.extend([TOMBSTONE_MESSAGES, FORGET_MESSAGE_STATE, LIVE_OF_INCOMPLETE]);
    all
}

/// How many rows one statement reads or marks.
const BATCH: usize = 5_000;

/// The highest row number of an account.
pub(super) async fn highest(conn: &mut Conn<'_>, resource: Resource, account: &str) -> Result<i64, Error> {
    let (highest,): (i64,) = on!(conn, inner, dialect => sqlx::query_as(statements(resource).highest.of(dialect))
        .bind(account)
        .fetch_one(inner)
        .await)
    .doing("numbering rows")?;
    Ok(highest)
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

    /// The same for each account and resource that was begun and never complete, by account and the resource's name.
    pub(super) async fn live_rows_of_incomplete(&self) -> Result<Vec<(String, String, u64)>, Error> {
        let rows: Vec<(String, String, i64)> =
            reading!(self, pool, dialect => sqlx::query_as(LIVE_OF_INCOMPLETE.of(dialect)).fetch_all(pool).await)
                .doing("counting rows")?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|(account, resource, rows)| (account, resource, from_db(rows)))
            .collect())
    }

    async fn count(&self, statement: Statement, account: &str) -> Result<u64, Error> {
        let (count,): (i64,) = reading!(self, pool, dialect => sqlx::query_as(statement.of(dialect))
            .bind(account)
            .fetch_one(pool)
            .await)
        .doing("counting rows")?;
        Ok(from_db(count))
    }

    /// The live rows up to and including a row number that are not in `seen`, which holds numbers of rows.
    ///
    /// Rows are counted, which takes an index only; they are read where the counts say that some were not seen.
    pub async fn unseen(
        &self,
        account: &str,
        resource: Resource,
        seen: &RoaringTreemap,
        up_to_row_num: u64,
    ) -> Result<Unseen, Error> {
        let mut unseen = Unseen::default();
        if resource == Resource::Analytics {
            return Ok(unseen);
        }
        let top = from_db(to_db(up_to_row_num));
        // Another program may have tombstoned rows that this sweep saw, and rows are never taken away: what is live is
        // what there is, less these.
        let gone = self.tombstoned(account, resource, top).await?;
        let seen_and_gone = seen & &gone;
        let within = |rows: &RoaringTreemap, after, to| rows.rank(to) - rows.rank(after);
        let mut ranges = vec![(0, top)];
        while let Some((after, to)) = ranges.pop() {
            let known = self.known(account, resource, after, to).await?;
            let live = known.saturating_sub(within(&gone, after, to));
            if (after, to) == (0, top) {
                unseen.live = live;
            }
            if live == within(seen, after, to) - within(&seen_and_gone, after, to) {
                continue;
            }
            if live > BATCH as u64 && to - after > 1 {
                let middle = after + (to - after) / 2;
                ranges.extend([(middle, to), (after, middle)]);
                continue;
            }
            let rows: Vec<ScannedRow> =
                reading!(self, pool, dialect => sqlx::query_as(statements(resource).scan.of(dialect))
                    .bind(account)
                    .bind(to_db(after))
                    .bind(to_db(to))
                    .fetch_all(pool)
                    .await)
                .doing("looking for rows that were not seen")?;
            let rows = rows
                .into_iter()
                .map(|(row_num, id, created_at, missing_since)| UnseenRow {
                    id,
                    row_num: from_db(row_num),
                    created_at,
                    missing_since,
                });
            unseen.rows.extend(rows.filter(|row| !seen.contains(row.row_num)));
        }
        Ok(unseen)
    }

    /// How many rows have numbers after one and up to another.
    async fn known(&self, account: &str, resource: Resource, after: u64, to: u64) -> Result<u64, Error> {
        let (count,): (i64,) = reading!(self, pool, dialect => sqlx::query_as(statements(resource).known.of(dialect))
            .bind(account)
            .bind(to_db(after))
            .bind(to_db(to))
            .fetch_one(pool)
            .await)
        .doing("counting rows")?;
        Ok(from_db(count))
    }

    /// The numbers of the tombstoned rows up to one.
    async fn tombstoned(&self, account: &str, resource: Resource, to: u64) -> Result<RoaringTreemap, Error> {
        let mut all = RoaringTreemap::new();
        loop {
            let batch: Vec<(i64,)> =
                reading!(self, pool, dialect => sqlx::query_as(statements(resource).tombstoned.of(dialect))
                    .bind(account)
                    .bind(to_db(all.max().unwrap_or(0)))
                    .bind(to_db(to))
                    .bind(to_db(BATCH as u64))
                    .fetch_all(pool)
                    .await)
                .doing("looking for tombstones")?;
            let full = batch.len() == BATCH;
            all.extend(batch.into_iter().map(|(row_num,)| from_db(row_num)));
            if !full {
                return Ok(all);
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
