//! Messages. They have no history: a message is not expected to change.

use serde_json::value::RawValue;

use super::mirrored::Write;
use super::repeated::{Repeated, new_rows, rows_with_numbers};
use super::statement::Statement;
use super::{cell, postgres};
use crate::allai::model::{Cell, Json, Message, Record};

macro_rules! columns {
    () => {
        concat!(
            "account, id, conversation_id, role, type, content, confidence, sources, sent_at, extra, ",
            "content_hash, raw_hash, first_seen_at, changed_at"
        )
    };
}

macro_rules! or_update {
    () => {
        concat!(
            " ON CONFLICT (account, conversation_id, id) DO UPDATE SET role = excluded.role, type = ",
            "excluded.type, content = excluded.content, confidence = excluded.confidence, sources = ",
            "excluded.sources, sent_at = excluded.sent_at, extra = excluded.extra, content_hash = ",
            "excluded.content_hash, raw_hash = excluded.raw_hash, changed_at = excluded.changed_at, deleted_at = ",
            "NULL, missing_since = NULL"
        )
    };
}

macro_rules! insert {
    () => {
        concat!(
            "INSERT INTO messages (",
            columns!(),
            ", row_num) SELECT $1, id, conversation_id, role, type, content, confidence, sources::jsonb, sent_at, ",
            "extra::jsonb, content_hash, raw_hash, changed_at, changed_at, row_num FROM UNNEST($2::text[], $3::text[], ",
            "$4::text[], $5::text[], $6::text[], $7::float8[], $8::text[], $9::timestamptz[], $10::text[], ",
            "$11::text[], $12::bytea[], $13::timestamptz[], $14::bigint[]) AS page (id, conversation_id, role, type, ",
            "content, confidence, sources, sent_at, extra, content_hash, raw_hash, changed_at, row_num)"
        )
    };
}

/// Rows that are not there.
pub(super) const ADD: Statement = Statement::postgres_only(insert!());

/// Rows that are there already.
pub(super) const PUT: Statement = Statement::postgres_only(concat!(insert!(), or_update!()));

/// How many [`cells`] there are of a row.
const COLUMNS: usize = 10;

/// Rows that are probably not there; those that are stay as they are. Without `OR ROLLBACK` SQLite would keep a copy of
/// every block the statement touches, to undo it alone; here a failure is the end of the transaction anyway.
pub(super) static ADD_MANY: Repeated = Repeated::new(|rows| {
    format!(
        concat!(
            "INSERT OR ROLLBACK INTO messages (",
            columns!(),
            ", row_num) VALUES {} ON CONFLICT (account, conversation_id, id) DO NOTHING"
        ),
        new_rows(rows, COLUMNS)
    )
});

/// Rows that are there already.
pub(super) static PUT_MANY: Repeated = Repeated::new(|rows| {
    format!(
        concat!(
            "INSERT INTO messages (",
            columns!(),
            ", row_num) VALUES {}",
            or_update!()
        ),
        rows_with_numbers(rows, COLUMNS)
    )
});

pub(super) const STATEMENTS: &[Statement] = &[ADD, PUT];

/// The columns of one row that the API fills, in their order.
pub(super) fn cells(row: &Message) -> Box<[Cell]> {
    Box::new([
        cell::text(Some(&row.id)),
        cell::text(Some(&row.conversation_id)),
        cell::text(row.role.as_deref()),
        cell::text(row.kind.as_deref()),
        cell::text(row.content.as_deref()),
        cell::number(row.confidence),
        cell::text(row.sources.as_deref().map(RawValue::get)),
        cell::time(row.sent_at),
        cell::text(row.extra.as_deref().map(RawValue::get)),
        cell::text(Some(&row.content_hash.to_string())),
    ])
}

/// Binds the columns of rows, each as an array.
pub(super) fn bind_arrays<'q>(query: postgres::Query<'q>, writes: &[&Write<'_>]) -> postgres::Query<'q> {
    let (rows, writes): (Vec<&Message>, Vec<&Write<'_>>) = writes
        .iter()
        .filter_map(|write| match write.row.record() {
            Record::Message(row) => Some((row, *write)),
            _ => None,
        })
        .unzip();
    let text = |of: fn(&Message) -> Option<&str>| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
    let json = |of: fn(&Message) -> Option<&Json>| {
        rows.iter()
            .map(|row| of(row).map(|json| json.get()))
            .collect::<Vec<_>>()
    };
    query
        .bind(text(|row| Some(&row.id)))
        .bind(text(|row| Some(&row.conversation_id)))
        .bind(text(|row| row.role.as_deref()))
        .bind(text(|row| row.kind.as_deref()))
        .bind(text(|row| row.content.as_deref()))
        .bind(rows.iter().map(|row| row.confidence).collect::<Vec<_>>())
        .bind(json(|row| row.sources.as_ref()))
        .bind(rows.iter().map(|row| row.sent_at).collect::<Vec<_>>())
        .bind(json(|row| row.extra.as_ref()))
        .bind(rows.iter().map(|row| row.content_hash.to_string()).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.row.raw_hash().0).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.changed_at).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.num).collect::<Vec<_>>())
}
