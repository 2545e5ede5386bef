//! Conversations and their superseded versions.

use serde_json::value::RawValue;

use super::mirrored::Write;
use super::repeated::{Repeated, new_rows, parameters, rows_with_numbers};
use super::statement::Statement;
use super::{cell, postgres};
use crate::allai::model::{Cell, Conversation, Json, Record};

macro_rules! columns {
    () => {
        concat!(
            "account, id, chatbot_id, contact_id, visitor_name, visitor_email, visitor, channel, status, ",
            "resolution, metadata, created_at, updated_at, closed_at, extra, content_hash, raw_hash, ",
            "first_seen_at, changed_at"
        )
    };
}

macro_rules! or_update {
    () => {
        concat!(
            " ON CONFLICT (account, id) DO UPDATE SET chatbot_id = excluded.chatbot_id, contact_id = ",
            "excluded.contact_id, visitor_name = excluded.visitor_name, visitor_email = excluded.visitor_email, ",
            "visitor = excluded.visitor, channel = excluded.channel, status = excluded.status, resolution = ",
            "excluded.resolution, metadata = excluded.metadata, created_at = excluded.created_at, updated_at = ",
            "excluded.updated_at, closed_at = excluded.closed_at, extra = excluded.extra, content_hash = ",
            "excluded.content_hash, raw_hash = excluded.raw_hash, changed_at = excluded.changed_at, deleted_at = ",
            "NULL, missing_since = NULL"
        )
    };
}

macro_rules! insert {
    () => {
        concat!(
            "INSERT INTO conversations (",
            columns!(),
            ", row_num) SELECT $1, id, chatbot_id, contact_id, visitor_name, visitor_email, visitor::jsonb, channel, ",
            "status, resolution, metadata::jsonb, created_at, updated_at, closed_at, extra::jsonb, content_hash, ",
            "raw_hash, changed_at, changed_at, row_num FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[], ",
            "$6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], ",
            "$13::timestamptz[], $14::timestamptz[], $15::text[], $16::text[], $17::bytea[], $18::timestamptz[], ",
            "$19::bigint[]) AS page (id, chatbot_id, contact_id, visitor_name, visitor_email, visitor, channel, status, ",
            "resolution, metadata, created_at, updated_at, closed_at, extra, content_hash, raw_hash, changed_at, row_num)"
        )
    };
}

/// Rows that are not there.
pub(super) const ADD: Statement = Statement::postgres_only(insert!());

/// Rows that are there already.
pub(super) const PUT: Statement = Statement::postgres_only(concat!(insert!(), or_update!()));

/// How many [`cells`] there are of a row.
const COLUMNS: usize = 15;

/// Rows that are probably not there; those that are stay as they are. Without `OR ROLLBACK` SQLite would keep a copy of
/// every block the statement touches, to undo it alone; here a failure is the end of the transaction anyway.
pub(super) static ADD_MANY: Repeated = Repeated::new(|rows| {
    format!(
        concat!(
            "INSERT OR ROLLBACK INTO conversations (",
            columns!(),
            ", row_num) VALUES {} ON CONFLICT (account, id) DO NOTHING"
        ),
        new_rows(rows, COLUMNS)
    )
});

/// Rows that are there already.
pub(super) static PUT_MANY: Repeated = Repeated::new(|rows| {
    format!(
        concat!(
            "INSERT INTO conversations (",
            columns!(),
            ", row_num) VALUES {}",
            or_update!()
        ),
        rows_with_numbers(rows, COLUMNS)
    )
});

/// Copies the rows as they stand into the history. A tombstoned version ended when it was deleted.
macro_rules! keep {
    ($from:literal) => {
        concat!(
            "INSERT INTO conversations_history (account, id, chatbot_id, contact_id, visitor_name, ",
            "visitor_email, visitor, channel, status, resolution, metadata, created_at, updated_at, closed_at, ",
            "extra, content_hash, first_seen_at, changed_at, deleted_at, valid_from, valid_to) SELECT c.account, ",
            "c.id, c.chatbot_id, c.contact_id, c.visitor_name, c.visitor_email, c.visitor, c.channel, c.status, ",
            "c.resolution, c.metadata, c.created_at, c.updated_at, c.closed_at, c.extra, c.content_hash, ",
            "c.first_seen_at, c.changed_at, c.deleted_at, c.changed_at, coalesce(c.deleted_at, page.valid_to) ",
            "FROM ",
            $from
        )
    };
}

/// The parameters are the rows' ids and ends.
pub(super) const KEEP: Statement = Statement::postgres_only(keep!(
    "UNNEST($2::text[], $3::timestamptz[]) AS page (id, valid_to) CROSS JOIN LATERAL \
    (SELECT * FROM conversations WHERE account = $1 AND id = page.id LIMIT 1) c"
));

/// The same.
pub(super) static KEEP_MANY: Repeated = Repeated::new(|rows| {
    format!(
        concat!(
            "WITH page (id, valid_to) AS (VALUES {}) ",
            keep!("page CROSS JOIN conversations c WHERE c.account = ${} AND c.id = page.id")
        ),
        parameters(rows, 2),
        2 * rows + 1
    )
});

pub(super) const STATEMENTS: &[Statement] = &[ADD, PUT, KEEP];

/// The columns of one row that the API fills, in their order.
pub(super) fn cells(row: &Conversation) -> Box<[Cell]> {
    Box::new([
        cell::text(Some(&row.id)),
        cell::text(row.chatbot_id.as_deref()),
        cell::text(row.contact_id.as_deref()),
        cell::text(row.visitor_name.as_deref()),
        cell::text(row.visitor_email.as_deref()),
        cell::text(row.visitor.as_deref().map(RawValue::get)),
        cell::text(row.channel.as_deref()),
        cell::text(row.status.as_deref()),
        cell::text(row.resolution.as_deref()),
        cell::text(row.metadata.as_deref().map(RawValue::get)),
        cell::time(row.created_at),
        cell::time(row.updated_at),
        cell::time(row.closed_at),
        cell::text(row.extra.as_deref().map(RawValue::get)),
        cell::text(Some(&row.content_hash.to_string())),
    ])
}

/// Binds the columns of rows, each as an array.
pub(super) fn bind_arrays<'q>(query: postgres::Query<'q>, writes: &[&Write<'_>]) -> postgres::Query<'q> {
    let (rows, writes): (Vec<&Conversation>, Vec<&Write<'_>>) = writes
        .iter()
        .filter_map(|write| match write.row.record() {
            Record::Conversation(row) => Some((row, *write)),
            _ => None,
        })
        .unzip();
    let text = |of: fn(&Conversation) -> Option<&str>| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
    let json = |of: fn(&Conversation) -> Option<&Json>| {
        rows.iter()
            .map(|row| of(row).map(|json| json.get()))
            .collect::<Vec<_>>()
    };
    query
        .bind(text(|row| Some(&row.id)))
        .bind(text(|row| row.chatbot_id.as_deref()))
        .bind(text(|row| row.contact_id.as_deref()))
        .bind(text(|row| row.visitor_name.as_deref()))
        .bind(text(|row| row.visitor_email.as_deref()))
        .bind(json(|row| row.visitor.as_ref()))
        .bind(text(|row| row.channel.as_deref()))
        .bind(text(|row| row.status.as_deref()))
        .bind(text(|row| row.resolution.as_deref()))
        .bind(json(|row| row.metadata.as_ref()))
        .bind(rows.iter().map(|row| row.created_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.updated_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.closed_at).collect::<Vec<_>>())
        .bind(json(|row| row.extra.as_ref()))
        .bind(rows.iter().map(|row| row.content_hash.to_string()).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.row.raw_hash().0).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.changed_at).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.num).collect::<Vec<_>>())
}
