//! Contacts and their superseded versions.

use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::mirrored::Write;
use super::statement::Statement;
use super::values::{Stamp, api_time};
use crate::allai::model::{Contact, Json, Record};

macro_rules! put {
    ($rows:literal) => {
        concat!(
            "INSERT INTO contacts (",
            "account, id, name, email, phone, tags, custom_fields, created_at, updated_at, extra, ",
            "content_hash, first_seen_at, changed_at",
            $rows,
            " ON CONFLICT (account, id) DO UPDATE SET ",
            "name = excluded.name, email = excluded.email, phone = excluded.phone, tags = excluded.tags, ",
            "custom_fields = excluded.custom_fields, created_at = excluded.created_at, ",
            "updated_at = excluded.updated_at, extra = excluded.extra, ",
            "content_hash = excluded.content_hash, changed_at = excluded.changed_at, deleted_at = NULL, ",
            "missing_since = NULL RETURNING id, row_num",
        )
    };
}

const PUT: Statement = Statement {
    sqlite: put!(", row_num) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13)"),
    postgres: put!(
        ") SELECT $1, id, name, email, phone, tags::jsonb, custom_fields::jsonb, created_at, updated_at, \
         extra::jsonb, content_hash, changed_at, changed_at FROM UNNEST($2::text[], $3::text[], $4::text[], \
         $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[], \
         $12::timestamptz[]) AS page (id, name, email, phone, tags, custom_fields, created_at, updated_at, \
         extra, content_hash, changed_at)"
    ),
};

macro_rules! keep {
    ($from:literal) => {
        concat!(
            "INSERT INTO contacts_history (",
            "account, id, name, email, phone, tags, custom_fields, created_at, updated_at, extra, ",
            "content_hash, first_seen_at, changed_at, deleted_at, valid_from, valid_to) ",
            "SELECT ",
            "c.account, c.id, c.name, c.email, c.phone, c.tags, c.custom_fields, c.created_at, ",
            "c.updated_at, c.extra, c.content_hash, c.first_seen_at, c.changed_at, c.deleted_at, ",
            "c.changed_at, ",
            $from
        )
    };
}

/// Copies the rows as they stand into the history. A tombstoned version ended when it was deleted.
const KEEP: Statement = Statement {
    sqlite: keep!("coalesce(c.deleted_at, $3) FROM contacts c WHERE c.account = $1 AND c.id = $2"),
    postgres: keep!(
        "coalesce(c.deleted_at, page.valid_to) FROM UNNEST($2::text[], $3::timestamptz[]) AS page (id, valid_to) \
         JOIN contacts c ON c.account = $1 AND c.id = page.id"
    ),
};

pub(super) const STATEMENTS: &[Statement] = &[PUT, KEEP];

pub(super) async fn write_sqlite(
    conn: &mut SqliteConnection,
    account: &str,
    row: &Contact,
    write: &Write<'_>,
    num: i64,
) -> Result<(), sqlx::Error> {
    if write.supersedes {
        sqlx::query(KEEP.sqlite)
            .bind(account)
            .bind(&row.id)
            .bind(Stamp(write.changed_at))
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(PUT.sqlite)
        .bind(account)
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.email)
        .bind(&row.phone)
        .bind(row.tags.as_deref().map(RawValue::get))
        .bind(row.custom_fields.as_deref().map(RawValue::get))
        .bind(api_time(row.created_at))
        .bind(api_time(row.updated_at))
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
    let superseded: Vec<_> = writes.iter().filter(|write| write.supersedes).collect();
    if !superseded.is_empty() {
        sqlx::query(KEEP.postgres)
            .bind(account)
            .bind(superseded.iter().map(|write| write.record.id()).collect::<Vec<_>>())
            .bind(superseded.iter().map(|write| write.changed_at).collect::<Vec<_>>())
            .execute(&mut *conn)
            .await?;
    }
    let (rows, times): (Vec<&Contact>, Vec<_>) = writes
        .iter()
        .filter_map(|write| match write.record {
            Record::Contact(row) => Some((row, write.changed_at)),
            _ => None,
        })
        .unzip();
    let text = |of: fn(&Contact) -> Option<&str>| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
    let json = |of: fn(&Contact) -> Option<&Json>| {
        rows.iter()
            .map(|row| of(row).map(|json| json.get()))
            .collect::<Vec<_>>()
    };
    sqlx::query_as(PUT.postgres)
        .bind(account)
        .bind(text(|row| Some(&row.id)))
        .bind(text(|row| row.name.as_deref()))
        .bind(text(|row| row.email.as_deref()))
        .bind(text(|row| row.phone.as_deref()))
        .bind(json(|row| row.tags.as_ref()))
        .bind(json(|row| row.custom_fields.as_ref()))
        .bind(rows.iter().map(|row| row.created_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.updated_at).collect::<Vec<_>>())
        .bind(json(|row| row.extra.as_ref()))
        .bind(rows.iter().map(|row| row.content_hash.to_string()).collect::<Vec<_>>())
        .bind(times)
        .fetch_all(conn)
        .await
}
