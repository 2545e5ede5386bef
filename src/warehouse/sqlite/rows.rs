//! Writing rows, many to a statement.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::Arguments as _;
use sqlx::Sqlite as Driver;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::super::error::{Doing as _, Error};
use super::super::mirrored::Write;
use super::super::repeated::{MOST, Repeated};
use super::super::values::stamp_text;
use super::super::{cell, contacts, conversations, messages};
use crate::allai::Resource;

/// No row has more values to be bound.
const MOST_COLUMNS: usize = 20;

/// Writes rows that are new, changed or back, with the versions they supersede. Each has its number.
pub(in crate::warehouse) async fn write_rows(
    conn: &mut SqliteConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<(), Error> {
    let Some(table) = Table::of(resource) else {
        return Ok(());
    };
    let (known, new): (Vec<&Write<'_>>, Vec<&Write<'_>>) = writes.iter().partition(|write| write.supersedes);
    let mut texts = Texts::default();
    if let Some(keep) = table.keep {
        for part in known.chunks(MOST) {
            let (size, text) = keep.at_least(part.len());
            let mut query = sqlx::query(text);
            for slot in 0..size {
                let write = part.get(slot);
                query = query
                    .bind(write.map(|write| write.row.id()))
                    .bind(write.map(|write| texts.stamp(write.changed_at)));
            }
            query
                .bind(account)
                .execute(&mut *conn)
                .await
                .doing("keeping superseded versions")?;
        }
    }
    let mut rest = &known[..];
    while !rest.is_empty() {
        let (size, text) = table.put.at_most(rest.len());
        let (part, after) = rest.split_at(size);
        let mut query = query_of_many(text, size);
        for write in part {
            let changed_at = texts.stamp(write.changed_at);
            query = cell::bind(write.row, query)
                .bind(write.row.raw_hash().0.to_vec())
                .bind(changed_at.clone())
                .bind(changed_at)
                .bind(write.num);
        }
        query.bind(account).execute(&mut *conn).await.doing("writing rows")?;
        rest = after;
    }
    let added = add(conn, account, &table, &new).await?;
    debug_assert_eq!(added, new.len() as u64, "rows that were not there");
    Ok(())
}

/// Adds the rows that are not there yet, and says how many were added. All have numbers, one after the other, should
/// they be new.
pub(in crate::warehouse) async fn add_rows(
    conn: &mut SqliteConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<u64, Error> {
    let Some(table) = Table::of(resource) else {
        return Ok(0);
    };
    add(conn, account, &table, &writes.iter().collect::<Vec<_>>()).await
}

/// A query of the values of so many rows, which get their room at once.
fn query_of_many(text: &'static str, rows: usize) -> Query<'static> {
    let mut values = SqliteArguments::default();
    values.reserve(rows * MOST_COLUMNS, 0);
    sqlx::query_with(text, values)
}

async fn add(
    conn: &mut SqliteConnection,
    account: &str,
    table: &Table,
    mut writes: &[&Write<'_>],
) -> Result<u64, Error> {
    let mut added = 0;
    while let Some(first) = writes.first() {
        let (size, text) = table.add.at_most(writes.len());
        let (part, after) = writes.split_at(size);
        let mut query = query_of_many(text, size);
        for write in part {
            query = cell::bind(write.row, query);
        }
        let hashes: Vec<u8> = part.iter().flat_map(|write| write.row.raw_hash().0).collect();
        let query = query
            .bind(account)
            .bind(hashes)
            .bind(stamp_text(first.changed_at))
            .bind(first.num.map(|number| number - 1));
        added += query.execute(&mut *conn).await.doing("writing rows")?.rows_affected();
        writes = after;
    }
    Ok(added)
}

/// The statements that write a table.
struct Table {
    /// Copies rows into the history, where there is one.
    keep: Option<&'static Repeated>,
    /// Replaces rows.
    put: &'static Repeated,
    /// Adds rows.
    add: &'static Repeated,
}

impl Table {
    fn of(resource: Resource) -> Option<Self> {
        match resource {
            Resource::Contacts => Some(Self {
                keep: Some(&contacts::KEEP_MANY),
                put: &contacts::PUT_MANY,
                add: &contacts::ADD_MANY,
            }),
            Resource::Conversations => Some(Self {
                keep: Some(&conversations::KEEP_MANY),
                put: &conversations::PUT_MANY,
                add: &conversations::ADD_MANY,
            }),
            Resource::Messages => Some(Self {
                keep: None,
                put: &messages::PUT_MANY,
                add: &messages::ADD_MANY,
            }),
            Resource::Analytics => None,
        }
    }
}

/// A statement whose parameters are being bound.
pub(in crate::warehouse) type Query<'q> = sqlx::query::Query<'q, Driver, SqliteArguments>;

/// Texts on their way into a statement. The thread that executes it would free them one by one, each under the lock of
/// the thread that made them, and the two would wait for each other; so they are kept here until it is done.
#[derive(Default)]
pub(in crate::warehouse) struct Texts {
    kept: Vec<Arc<str>>,
    stamp: Option<(DateTime<Utc>, Arc<str>)>,
}

impl Texts {
    pub(in crate::warehouse) fn text(&mut self, text: Option<&str>) -> Option<Arc<str>> {
        let text: Arc<str> = text?.into();
        self.kept.push(Arc::clone(&text));
        Some(text)
    }

    /// A moment of the warehouse's own. The rows of a page are written at one moment, put into words once.
    pub(in crate::warehouse) fn stamp(&mut self, at: DateTime<Utc>) -> Arc<str> {
        match &self.stamp {
            Some((last, text)) if *last == at => Arc::clone(text),
            _ => {
                let text: Arc<str> = stamp_text(at).into();
                self.stamp = Some((at, Arc::clone(&text)));
                text
            }
        }
    }
}
