//! Mirrored rows read back from their columns: what a BI tool reads, whatever a fingerprint says.

use sqlx::{ColumnIndex, Database, Decode, Type};

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::quarantine::foreseeable_problem;
use super::statement::{Statement, in_list, on, reading};
use super::values::{List, from_db, to_db};
use crate::allai::Resource;
use crate::allai::model::Record;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text as it is.
    Text,
    /// A floating-point number.
    Number,
    /// JSON, which Postgres spells its own way.
    Json,
    /// A point in time, RFC 3339.
    Time,
}

/// A column's value.
#[derive(Clone, Debug, PartialEq)]
pub enum HeldValue {
    /// Nothing.
    Null,
    /// The text of a column of text, JSON or time.
    Text(String),
    /// The number of a column of numbers.
    Number(f64),
}

/// A row as its columns hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRow {
    /// The API's id.
    pub id: String,
    /// The row's internal number.
    pub row_num: u64,
    /// Whether it is marked as deleted.
    pub deleted: bool,
    /// Its values, aligned with [`columns`].
    pub values: Vec<HeldValue>,
}

/// The columns of a resource that hold what the API sent, beside the id, in the order in which they are read.
pub const fn columns(resource: Resource) -> &'static [(&'static str, ColumnKind)] {
    use ColumnKind::{Json, Number, Text, Time};
    match resource {
        Resource::Contacts => &[
            ("name", Text),
            ("email", Text),
            ("phone", Text),
            ("tags", Json),
            ("custom_fields", Json),
            ("created_at", Time),
            ("updated_at", Time),
            ("extra", Json),
        ],
        Resource::Conversations => &[
            ("chatbot_id", Text),
            ("contact_id", Text),
            ("visitor_name", Text),
            ("visitor_email", Text),
            ("visitor", Json),
            ("channel", Text),
            ("status", Text),
            ("resolution", Text),
            ("metadata", Json),
            ("created_at", Time),
            ("updated_at", Time),
            ("closed_at", Time),
            ("extra", Json),
        ],
        Resource::Messages => &[
            ("role", Text),
            ("type", Text),
            ("content", Text),
            ("confidence", Number),
            ("sources", Json),
            ("sent_at", Time),
            ("extra", Json),
        ],
        Resource::Analytics => &[],
    }
}

/// Postgres's `timestamptz` as RFC 3339.
macro_rules! rfc3339 {
    ($column:literal) => {
        concat!(
            "to_char(",
            $column,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        )
    };
}

macro_rules! held {
    ($table:literal, $within:literal, $sqlite:expr, $postgres:expr) => {
        Statement {
            sqlite: concat!(
                "SELECT id, row_num, deleted_at IS NOT NULL, ",
                $sqlite,
                " FROM ",
                $table,
                " WHERE account = $1 AND id IN (SELECT value FROM json_each($2))",
                $within
            ),
            postgres: concat!(
                "SELECT id, row_num, deleted_at IS NOT NULL, ",
                $postgres,
                " FROM ",
                $table,
                " WHERE account = $1 AND id = ANY($2)",
                $within
            ),
        }
    };
}

const CONTACTS: Statement = held!(
    "contacts",
    "",
    "name, email, phone, tags, custom_fields, created_at, updated_at, extra",
    concat!(
        "name, email, phone, tags::text, custom_fields::text, ",
        rfc3339!("created_at"),
        ", ",
        rfc3339!("updated_at"),
        ", extra::text"
    )
);
const CONVERSATIONS: Statement = held!(
    "conversations",
    "",
    "chatbot_id, contact_id, visitor_name, visitor_email, visitor, channel, status, resolution, metadata, created_at, \
     updated_at, closed_at, extra",
    concat!(
        "chatbot_id, contact_id, visitor_name, visitor_email, visitor::text, channel, status, resolution, ",
        "metadata::text, ",
        rfc3339!("created_at"),
        ", ",
        rfc3339!("updated_at"),
        ", ",
        rfc3339!("closed_at"),
        ", extra::text"
    )
);
const MESSAGES: Statement = held!(
    "messages",
    " AND conversation_id = $3",
    "role, type, content, confidence, sources, sent_at, extra",
    concat!(
        "role, type, content, confidence, sources::text, ",
        rfc3339!("sent_at"),
        ", extra::text"
    )
);

const QUARANTINED: Statement = in_list!(
    "SELECT DISTINCT id FROM quarantine WHERE account = $1 AND resource = $2 AND ",
    "id",
    "$3",
    " AND conversation_id IS NOT DISTINCT FROM $4"
);

/// A fingerprint no content has, so that the next sweep writes the row whatever it holds.
macro_rules! distrust {
    ($table:literal) => {
        in_list!(
            concat!(
                "UPDATE ",
                $table,
                " SET content_hash = '00000000000000000000000000000000', raw_hash = NULL WHERE account = $1 AND "
            ),
            "row_num",
            "$2",
            ""
        )
    };
}

const DISTRUST_CONTACTS: Statement = distrust!("contacts");
const DISTRUST_CONVERSATIONS: Statement = distrust!("conversations");
const DISTRUST_MESSAGES: Statement = distrust!("messages");

pub(super) const STATEMENTS: &[Statement] = &[
    CONTACTS,
    CONVERSATIONS,
    MESSAGES,
    QUARANTINED,
    DISTRUST_CONTACTS,
    DISTRUST_CONVERSATIONS,
    DISTRUST_MESSAGES,
];

fn read<R: sqlx::Row>(row: &R, columns: &[(&str, ColumnKind)]) -> Result<HeldRow, sqlx::Error>
where
    usize: ColumnIndex<R>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    f64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    bool: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    R::Database: Database,
{
    const FIRST: usize = 3;
    let values = columns.iter().enumerate().map(|(at, (_, kind))| {
        Ok(match kind {
            ColumnKind::Number => row
                .try_get::<Option<f64>, _>(FIRST + at)?
                .map_or(HeldValue::Null, HeldValue::Number),
            ColumnKind::Text | ColumnKind::Json | ColumnKind::Time => row
                .try_get::<Option<String>, _>(FIRST + at)?
                .map_or(HeldValue::Null, HeldValue::Text),
        })
    });
    Ok(HeldRow {
        id: row.try_get(0)?,
        row_num: from_db(row.try_get(1)?),
        deleted: row.try_get(2)?,
        values: values.collect::<Result<_, sqlx::Error>>()?,
    })
}

impl Warehouse {
    /// The rows of these ids, live or marked as deleted, in no particular order; for messages, `conversation` says
    /// whose.
    pub async fn held_rows(
        &self,
        account: &str,
        resource: Resource,
        conversation: Option<&str>,
        ids: &[&str],
    ) -> Result<Vec<HeldRow>, Error> {
        let statement = match resource {
            Resource::Contacts => CONTACTS,
            Resource::Conversations => CONVERSATIONS,
            Resource::Messages => MESSAGES,
            Resource::Analytics => return Ok(Vec::new()),
        };
        let ids = self.askable(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        reading!(self, pool, dialect => {
            let query = sqlx::query(statement.of(dialect)).bind(account).bind(List(&ids));
            let query = match conversation {
                Some(conversation) => query.bind(conversation),
                None => query,
            };
            match query.fetch_all(pool).await {
                Ok(rows) => rows.iter().map(|row| read(row, columns(resource))).collect(),
                Err(error) => Err(error),
            }
        })
        .doing("reading rows back")
    }

    /// Those of these ids that are in quarantine; for messages, `conversation` says whose.
    pub async fn quarantined_among(
        &self,
        account: &str,
        resource: Resource,
        conversation: Option<&str>,
        ids: &[&str],
    ) -> Result<Vec<String>, Error> {
        let ids = self.askable(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(String,)> = reading!(self, pool, dialect => sqlx::query_as(QUARANTINED.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .bind(List(&ids))
            .bind(conversation)
            .fetch_all(pool)
            .await)
        .doing("looking into the quarantine")?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Forgets the fingerprints of rows that are not what the API has, so that the next full sync writes them again.
    pub async fn distrust(&self, account: &str, resource: Resource, row_nums: &[u64]) -> Result<(), Error> {
        let statement = match resource {
            Resource::Contacts => DISTRUST_CONTACTS,
            Resource::Conversations => DISTRUST_CONVERSATIONS,
            Resource::Messages => DISTRUST_MESSAGES,
            Resource::Analytics => return Ok(()),
        };
        if row_nums.is_empty() {
            return Ok(());
        }
        let row_nums: Vec<i64> = row_nums.iter().map(|&num| to_db(num)).collect();
        let mut tx = self.begin(account, &[resource]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(statement.of(dialect))
            .bind(account)
            .bind(List(&row_nums))
            .execute(inner)
            .await
            .map(drop))
        .doing("distrusting rows")?;
        tx.commit().await
    }

    /// Whether the database cannot hold this record, as far as can be told without trying.
    pub fn cannot_hold(&self, record: &Record) -> bool {
        matches!(self, Self::Postgres(_)) && foreseeable_problem(record).is_some()
    }

    /// An id that Postgres cannot hold cannot be asked for either.
    fn askable<'a>(&self, ids: &[&'a str]) -> Vec<&'a str> {
        let askable = |id: &&str| matches!(self, Self::Sqlite(_)) || !id.contains('\0');
        ids.iter().copied().filter(askable).collect()
    }
}
