//! Messages. They have no history: a message is not expected to change.

use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::mirrored::Write;
use super::statement::Statement;
use super::values::{Stamp, api_time};
use crate::allai::model::{Json, Message, Record};

macro_rules! put {
    ($rows:literal) => {
        concat!(
            "INSERT INTO messages (",
            "account, id, conversation_id, role, type, content, confidence, sources, sent_at, extra, ",
            "content_hash, first_seen_at, changed_at",
            $rows,
            " ON CONFLICT (account, conversation_id, id) DO UPDATE SET ",
            "role = excluded.role, type = excluded.type, ",
            "content = excluded.content, confidence = excluded.confidence, sources = excluded.sources, ",
            "sent_at = excluded.sent_at, extra = excluded.extra, content_hash = excluded.content_hash, ",
            "changed_at = excluded.changed_at, deleted_at = NULL, ",
            "missing_since = NULL RETURNING id, row_num",
        )
    };
}

const PUT: Statement = Statement {
    sqlite: put!(", row_num) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13)"),
    postgres: put!(
        ") SELECT $1, id, conversation_id, role, type, content, confidence, sources::jsonb, sent_at, \
         extra::jsonb, content_hash, changed_at, changed_at FROM UNNEST($2::text[], $3::text[], $4::text[], \
         $5::text[], $6::text[], $7::float8[], $8::text[], $9::timestamptz[], $10::text[], $11::text[], \
         $12::timestamptz[]) AS page (id, conversation_id, role, type, content, confidence, sources, sent_at, \
         extra, content_hash, changed_at)"
    ),
};

pub(super) const STATEMENTS: &[Statement] = &[PUT];

pub(super) async fn write_sqlite(
    conn: &mut SqliteConnection,
    account: &str,
    row: &Message,
    write: &Write<'_>,
    num: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(PUT.sqlite)
        .bind(account)
        .bind(&row.id)
        .bind(&row.conversation_id)
        .bind(&row.role)
        .bind(&row.kind)
        .bind(&row.content)
        .bind(row.confidence)
        .bind(row.sources.as_deref().map(RawValue::get))
        .bind(api_time(row.sent_at))
        .bind(row.extra.as_deref().map(RawValue::get))
        .bind(row.content_hash.to_string())
        .bind(Stamp(write.changed_at))
        .bind(num)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn write_postgres(
    conn: &mut PgConnection,
    account: &str,
    writes: &[Write<'_>],
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let (rows, times): (Vec<&Message>, Vec<_>) = writes
        .iter()
        .filter_map(|write| match write.record {
            Record::Message(row) => Some((row, write.changed_at)),
            _ => None,
        })
        .unzip();
    let text = |of: fn(&Message) -> Option<&str>| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
    let json = |of: fn(&Message) -> Option<&Json>| {
        rows.iter()
            .map(|row| of(row).map(|json| json.get()))
            .collect::<Vec<_>>()
    };
    sqlx::query_as(PUT.postgres)
        .bind(account)
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
        .bind(times)
        .fetch_all(conn)
        .await
}
