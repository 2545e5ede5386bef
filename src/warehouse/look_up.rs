//! What the warehouse knows of the rows of a page.
//!
//! Most rows of most pages are there as they are, which this is made for. The database compares the fingerprints itself
//! and answers for all rows at once, SQLite with one text, Postgres with a few arrays: handing over rows and columns one
//! by one costs more than finding them. Only the rows that are otherwise are read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, SqliteConnection};

use super::error::{Doing as _, Error};
use super::repeated::{MOST, RAW_HASH, Repeated};
use super::sqlite::Texts;
use super::statement::{Conn, Statement, in_time};
use crate::allai::Resource;
use crate::allai::model::RawHash;

/// Whose rows they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) account: &'a str,
    pub(super) resource: Resource,
    /// Messages are known by their conversation and their id.
    pub(super) conversation: Option<&'a str>,
}

/// What is known of a row.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It is live, was never missed, and was stored from the very same text.
    Same { num: i64, changed_at: DateTime<Utc> },
    /// It is there, otherwise or perhaps otherwise.
    Stored(Stored),
}

/// A row as it is there.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) num: i64,
    pub(super) content_hash: String,
    pub(super) raw_hash: Option<Vec<u8>>,
    pub(super) changed_at: DateTime<Utc>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) missing: bool,
    /// When the API says it was last changed; of messages it does not say.
    pub(super) updated_at: Option<DateTime<Utc>>,
}

/// A row of an answer.
type StoredRow = (
    String,
    i64,
    String,
    Option<Vec<u8>>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    bool,
    Option<DateTime<Utc>>,
);

/// Postgres's answer: slots from 1, numbers (none where the row is otherwise) and times.
type SameRows = (Option<Vec<i64>>, Option<Vec<Option<i64>>>, Option<Vec<DateTime<Utc>>>);

/// The statements of a table.
struct LookUp {
    /// Which rows are the same: `slot number time` of each that is, `slot` of each that is otherwise.
    same: Repeated,
    /// How the rows of some ids are there.
    stored: Repeated,
    /// The same two in Postgres, the first with [`SameRows`].
    postgres_same: &'static str,
    postgres_stored: &'static str,
}

/// Has Postgres look rows up one by one, whatever it believes: of a table that was empty when the statement was planned, or
/// was never analyzed, it would rather read all rows of the account, page after page.
macro_rules! row_by_row {
    ($select:literal, $page:literal, $columns:expr, $table:literal, $and:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM UNNEST(",
            $page,
            " CROSS JOIN LATERAL (SELECT ",
            $columns,
            " FROM ",
            $table,
            " WHERE account = $1 AND id = page_id",
            $and,
            " LIMIT 1) t"
        )
    };
}

macro_rules! same_in_postgres {
    ($table:literal, $and:literal) => {
        row_by_row!(
            "array_agg(slot), array_agg(CASE WHEN t.raw_hash = page_hash AND deleted_at IS NULL AND missing_since IS \
             NULL THEN row_num END), array_agg(changed_at)",
            "$2::text[], $3::bytea[]) WITH ORDINALITY AS page (page_id, page_hash, slot)",
            "raw_hash, deleted_at, missing_since, row_num, changed_at",
            $table,
            $and
        )
    };
}

macro_rules! stored_in_postgres {
    ($table:literal, $updated_at:literal, $and:literal) => {
        row_by_row!(
            "t.*",
            "$2::text[]) AS page (page_id)",
            concat!(
                "id, row_num, content_hash, raw_hash, changed_at, deleted_at, missing_since IS NOT NULL, ",
                $updated_at
            ),
            $table,
            $and
        )
    };
}

static CONTACTS: LookUp = LookUp {
    same: Repeated::new(|rows| same("contacts", rows)),
    stored: Repeated::new(|rows| stored("contacts", "updated_at", rows)),
    postgres_same: same_in_postgres!("contacts", ""),
    postgres_stored: stored_in_postgres!("contacts", "updated_at", ""),
};
static CONVERSATIONS: LookUp = LookUp {
    same: Repeated::new(|rows| same("conversations", rows)),
    stored: Repeated::new(|rows| stored("conversations", "updated_at", rows)),
    postgres_same: same_in_postgres!("conversations", ""),
    postgres_stored: stored_in_postgres!("conversations", "updated_at", ""),
};
/// The API gives examples such as `msg_001`: a message's id need not be unique beyond its conversation.
static MESSAGES: LookUp = LookUp {
    same: Repeated::new(|rows| same("messages", rows) + &format!(" AND t.conversation_id = ${}", rows + 3)),
    stored: Repeated::new(|rows| stored("messages", "NULL", rows) + &format!(" AND conversation_id = ${}", rows + 2)),
    postgres_same: same_in_postgres!("messages", " AND conversation_id = $4"),
    postgres_stored: stored_in_postgres!("messages", "NULL::timestamptz", " AND conversation_id = $3"),
};

fn same(table: &str, rows: usize) -> String {
    // The fingerprints come in one value, one after the other: each value bound is copied twice on its way.
    let slot = |slot: usize| {
        format!(
            "({slot}, ?, substr(${}, {}, {RAW_HASH}))",
            rows + 2,
            slot * RAW_HASH + 1
        )
    };
    let slots: Vec<String> = (0..rows).map(slot).collect();
    format!(
        "WITH page (slot, id, raw_hash) AS (VALUES {}) \
         SELECT group_concat(page.slot || CASE WHEN t.raw_hash = page.raw_hash AND t.deleted_at IS NULL \
         AND t.missing_since IS NULL THEN ' ' || t.row_num || ' ' || t.changed_at ELSE '' END, ';') \
         FROM page CROSS JOIN {table} t WHERE t.account = ${} AND t.id = page.id",
        slots.join(", "),
        rows + 1
    )
}

fn stored(table: &str, updated_at: &str, rows: usize) -> String {
    format!(
        "SELECT id, row_num, content_hash, raw_hash, changed_at, deleted_at, missing_since IS NOT NULL, {updated_at} \
         FROM {table} WHERE id IN ({}) AND account = ${}",
        vec!["?"; rows].join(", "),
        rows + 1
    )
}

pub(super) fn all_statements() -> Vec<Statement> {
    [&CONTACTS, &CONVERSATIONS, &MESSAGES]
        .into_iter()
        .flat_map(|table| {
            let sized = table.same.all().chain(table.stored.all());
            let postgres = [table.postgres_same, table.postgres_stored];
            sized.chain(postgres.map(Statement::postgres_only))
        })
        .collect()
}

/// What is known of rows, aligned with them. Each must have an id of its own.
pub(super) async fn look_up(
    conn: &mut Conn<'_>,
    of: Of<'_>,
    rows: &[(&str, RawHash)],
) -> Result<Vec<Option<Known>>, Error> {
    let table = match of.resource {
        Resource::Contacts => &CONTACTS,
        Resource::Conversations => &CONVERSATIONS,
        Resource::Messages => &MESSAGES,
        Resource::Analytics => return Ok(vec![None; rows.len()]),
    };
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    match conn {
        Conn::Sqlite(conn) => {
            let mut known = Vec::with_capacity(rows.len());
            for part in rows.chunks(MOST) {
                known.append(&mut in_sqlite(conn, table, of, part).await?);
            }
            Ok(known)
        }
        Conn::Postgres(conn) => in_postgres(conn, table, of, rows).await,
    }
}

async fn in_postgres(
    conn: &mut PgConnection,
    table: &LookUp,
    of: Of<'_>,
    rows: &[(&str, RawHash)],
) -> Result<Vec<Option<Known>>, Error> {
    let (ids, hashes): (Vec<&str>, Vec<&[u8]>) = rows.iter().map(|(id, raw_hash)| (*id, &raw_hash.0[..])).unzip();
    let query = sqlx::query_as(table.postgres_same)
        .bind(of.account)
        .bind(&ids)
        .bind(&hashes);
    let query = match of.conversation {
        Some(conversation) => query.bind(conversation),
        None => query,
    };
    let (slots, nums, times): SameRows = in_time(query.fetch_one(&mut *conn)).await.doing("looking up rows")?;
    let found = slots
        .iter()
        .flatten()
        .zip(nums.iter().flatten())
        .zip(times.iter().flatten());
    let mut known: Vec<Option<Known>> = vec![None; rows.len()];
    let mut others = Vec::new();
    for ((slot, num), changed_at) in found {
        let slot = usize::try_from(slot - 1).unwrap_or(usize::MAX);
        match (known.get_mut(slot), *num) {
            (Some(known), Some(num)) => {
                let changed_at = *changed_at;
                *known = Some(Known::Same { num, changed_at });
            }
            (Some(_), None) => others.push(slot),
            (None, _) => {}
        }
    }
    if others.is_empty() {
        return Ok(known);
    }

    let ids: Vec<&str> = others.iter().map(|&slot| rows[slot].0).collect();
    let query = sqlx::query_as(table.postgres_stored).bind(of.account).bind(&ids);
    let query = match of.conversation {
        Some(conversation) => query.bind(conversation),
        None => query,
    };
    let found: Vec<StoredRow> = in_time(query.fetch_all(conn)).await.doing("looking up rows")?;
    note_stored(&mut known, rows, others, found);
    Ok(known)
}

/// [`look_up`] of no more than [`MOST`] rows.
async fn in_sqlite(
    conn: &mut SqliteConnection,
    table: &LookUp,
    of: Of<'_>,
    rows: &[(&str, RawHash)],
) -> Result<Vec<Option<Known>>, Error> {
    let (size, statement) = table.same.at_least(rows.len());
    let mut query = sqlx::query_as(statement);
    let mut texts = Texts::default();
    for slot in 0..size {
        query = query.bind(texts.text(rows.get(slot).map(|(id, _)| *id)));
    }
    let hashes: Vec<u8> = rows.iter().flat_map(|(_, raw_hash)| raw_hash.0).collect();
    let query = query.bind(of.account).bind(hashes);
    let (answer,): (Option<String>,) = match of.conversation {
        Some(conversation) => query.bind(conversation),
        None => query,
    }
    .fetch_one(&mut *conn)
    .await
    .doing("looking up rows")?;
    let mut known: Vec<Option<Known>> = vec![None; rows.len()];
    let mut others = Vec::new();
    let mut times = Times::default();
    for row in answer.iter().flat_map(|answer| answer.split(';')) {
        match read_same(row, &mut times).doing("reading what is known of a row")? {
            (slot, Some(same)) if slot < rows.len() => known[slot] = Some(same),
            (slot, None) if slot < rows.len() => others.push(slot),
            _ => {}
        }
    }
    if others.is_empty() {
        return Ok(known);
    }

    let (size, statement) = table.stored.at_least(others.len());
    let mut query = sqlx::query_as(statement);
    for other in 0..size {
        query = query.bind(others.get(other).map(|&slot| rows[slot].0));
    }
    let query = query.bind(of.account);
    let query = match of.conversation {
        Some(conversation) => query.bind(conversation),
        None => query,
    };
    let found: Vec<StoredRow> = in_time(query.fetch_all(conn)).await.doing("looking up rows")?;
    note_stored(&mut known, rows, others, found);
    Ok(known)
}

/// Reads the part of an answer that is about one row.
fn read_same<'a>(row: &'a str, times: &mut Times<'a>) -> Result<(usize, Option<Known>), sqlx::Error> {
    fn decode<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
        sqlx::Error::Decode(Box::new(error))
    }
    let mut words = row.split(' ');
    let slot = words.next().unwrap_or_default().parse().map_err(decode)?;
    let same = match (words.next(), words.next()) {
        (Some(num), Some(changed_at)) => Some(Known::Same {
            num: num.parse().map_err(decode)?,
            changed_at: times.read(changed_at).map_err(decode)?,
        }),
        _ => None,
    };
    Ok((slot, same))
}

/// Reads points in time, of which many in a row are the same.
#[derive(Default)]
struct Times<'a>(Option<(&'a str, DateTime<Utc>)>);

impl<'a> Times<'a> {
    fn read(&mut self, text: &'a str) -> chrono::ParseResult<DateTime<Utc>> {
        match self.0 {
            Some((last, time)) if last == text => Ok(time),
            _ => {
                let time = DateTime::parse_from_rfc3339(text)?.to_utc();
                self.0 = Some((text, time));
                Ok(time)
            }
        }
    }
}

/// Notes the rows that are there otherwise, by their slots.
fn note_stored(known: &mut [Option<Known>], rows: &[(&str, RawHash)], slots: Vec<usize>, found: Vec<StoredRow>) {
    let mut found = by_id(found);
    for slot in slots {
        known[slot] = found.remove(rows[slot].0).map(Known::Stored);
    }
}

fn by_id(rows: Vec<StoredRow>) -> HashMap<String, Stored> {
    let stored = rows.into_iter().map(
        |(id, num, content_hash, raw_hash, changed_at, deleted_at, missing, updated_at)| {
            let stored = Stored {
                num,
                content_hash,
                raw_hash,
                changed_at,
                deleted_at,
                missing,
                updated_at,
            };
            (id, stored)
        },
    );
    stored.collect()
}
