//! A place for a warehouse, and rows to put into it.

#![expect(
    clippy::disallowed_methods,
    reason = "what the warehouse wrote is looked at behind its back"
)]

use std::time::Duration;

use allai_sync::allai::model::{Contact, ContentHash, Conversation, Json, Message, Record, Rejected, Row};
use allai_sync::allai::{Listing, Resource};
use allai_sync::clock::{Clock as _, VirtualClock};
use allai_sync::warehouse::{Change, Location, PageCommit, RowOutcome, Warehouse};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::support::postgres::fresh_schema;

/// Where a test's warehouse is.
pub(crate) struct Place {
    pub(crate) location: Location,
    pub(crate) clock: VirtualClock,
    folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            url: format!("sqlite://{}", folder.path().join("new/warehouse.db").display()),
            schema: "ignored".to_owned(),
        };
        Self::new(location, Some(folder))
    }

    pub(crate) fn postgres() -> Self {
        let schema = fresh_schema();
        let location = Location {
            url: schema.url,
            schema: schema.schema,
        };
        Self::new(location, None)
    }

    fn new(location: Location, folder: Option<tempfile::TempDir>) -> Self {
        Self {
            location,
            clock: VirtualClock::new(time("2026-01-19T10:00:00Z")),
            folder,
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.folder.is_some()
    }

    pub(crate) async fn open(&self) -> Warehouse {
        sendable(Warehouse::open(&self.location, self.clock.shared()))
            .await
            .unwrap()
    }

    pub(crate) async fn migrated(&self) -> Warehouse {
        let warehouse = self.open().await;
        sendable(warehouse.migrate()).await.unwrap();
        warehouse
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Runs SQL behind the warehouse's back; returns the columns of each row, as text, NULL as `-`.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        use sqlx::Row as _;
        if self.is_sqlite() {
            let url = self.location.url.as_str();
            let mut conn = SqliteConnection::connect(url).await.unwrap();
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                .fetch_all(&mut conn)
                .await
                .unwrap();
            let rows = rows
                .iter()
                .map(|row| {
                    let column = |i| {
                        let text = row.try_get_unchecked::<Option<String>, _>(i).unwrap();
                        text.unwrap_or_else(|| "-".to_owned())
                    };
                    (0..row.len()).map(column).collect::<Vec<_>>().join("|")
                })
                .collect();
            conn.close().await.unwrap();
            rows
        } else {
            let mut conn = self.postgres_connection().await;
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .fetch_all(&mut conn)
                .await
                .unwrap();
            let column = |row: &sqlx::postgres::PgRow, i| {
                // The simple protocol, which raw_sql uses, gives every value as text.
                let text = row.try_get_unchecked::<Option<String>, _>(i).unwrap();
                text.unwrap_or_else(|| "-".to_owned())
            };
            rows.iter()
                .map(|row| (0..row.len()).map(|i| column(row, i)).collect::<Vec<_>>().join("|"))
                .collect()
        }
    }

    pub(crate) async fn postgres_connection(&self) -> PgConnection {
        let mut conn = PgConnection::connect(&self.location.url).await.unwrap();
        let set = format!("SET search_path TO \"{}\"; SET timezone TO 'UTC'", self.location.schema);
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut conn).await.unwrap();
        conn
    }

    /// Prepares a statement, which checks it against the schema.
    pub(crate) async fn prepare(&self, sqlite: &'static str, postgres: &'static str) {
        use sqlx::{Executor as _, SqlSafeStr as _};
        let (sql, prepared) = if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&self.location.url).await.unwrap();
            (sqlite, conn.prepare(sqlite.into_sql_str()).await.map(drop))
        } else {
            let mut conn = self.postgres_connection().await;
            (postgres, conn.prepare(postgres.into_sql_str()).await.map(drop))
        };
        if let Err(error) = prepared {
            panic!("{error}: {sql}");
        }
    }

    /// A mark that differs whenever anything was written: the bytes of SQLite's files, or where Postgres keeps each
    /// version of each row.
    pub(crate) async fn write_mark(&self) -> String {
        let mut hash = Sha256::new();
        if self.is_sqlite() {
            let path = self.location.url.trim_start_matches("sqlite://");
            for file in [path.to_owned(), format!("{path}-wal")] {
                hash.update(std::fs::read(file).unwrap_or_default());
            }
        } else {
            let tables = "SELECT table_name FROM information_schema.tables \
                          WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1";
            for table in self.rows(tables).await {
                let versions = format!("SELECT ctid, xmin, xmax FROM {table} ORDER BY ctid");
                hash.update(self.rows(&versions).await.join(","));
            }
        }
        hex::encode(hash.finalize())
    }
}

pub(crate) const ACCOUNT: &str = "main";

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "the members of a record are optional")]
pub(crate) fn json(text: &str) -> Option<Json> {
    Some(RawValue::from_string(text.to_owned()).unwrap())
}

fn hash_of(content: &str) -> ContentHash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::digest(content)[..16]);
    ContentHash(hash)
}

/// Gives a row the fingerprint of its content, as the decoder would.
pub(crate) fn hashed(record: Record) -> Record {
    let content_hash = hash_of(&format!("{record:?}"));
    match record {
        Record::Contact(row) => Record::Contact(Contact { content_hash, ..row }),
        Record::Conversation(row) => Record::Conversation(Conversation { content_hash, ..row }),
        Record::Message(row) => Record::Message(Message { content_hash, ..row }),
    }
}

/// A contact of which everything but the id is empty.
pub(crate) fn bare_contact(id: &str) -> Contact {
    Contact {
        id: id.to_owned(),
        name: None,
        email: None,
        phone: None,
        tags: None,
        custom_fields: None,
        created_at: None,
        updated_at: None,
        extra: None,
        content_hash: ContentHash([0; 16]),
    }
}

pub(crate) fn contact(id: &str, name: &str) -> Record {
    hashed(Record::Contact(Contact {
        name: Some(name.to_owned()),
        ..bare_contact(id)
    }))
}

pub(crate) fn bare_conversation(id: &str) -> Conversation {
    Conversation {
        id: id.to_owned(),
        chatbot_id: None,
        contact_id: None,
        visitor_name: None,
        visitor_email: None,
        visitor: None,
        channel: None,
        status: None,
        resolution: None,
        metadata: None,
        created_at: None,
        updated_at: None,
        closed_at: None,
        extra: None,
        content_hash: ContentHash([0; 16]),
    }
}

pub(crate) fn conversation(id: &str, status: &str) -> Record {
    hashed(Record::Conversation(Conversation {
        status: Some(status.to_owned()),
        ..bare_conversation(id)
    }))
}

pub(crate) fn message(id: &str, conversation_id: &str, role: &str, sent_at: &str) -> Record {
    hashed(Record::Message(Message {
        id: id.to_owned(),
        conversation_id: conversation_id.to_owned(),
        role: Some(role.to_owned()),
        kind: Some("text".to_owned()),
        content: Some("Bună ziua! 👋 “Aveți” stoc?".to_owned()),
        confidence: None,
        sources: None,
        sent_at: Some(time(sent_at)),
        extra: None,
        content_hash: ContentHash([0; 16]),
    }))
}

pub(crate) fn rejected(id: Option<&str>, raw: &str) -> Rejected {
    Rejected {
        id: id.map(str::to_owned),
        reason: "no usable id".to_owned(),
        raw: RawValue::from_string(raw.to_owned()).unwrap(),
    }
}

/// A future that may be spawned, as the daemon does with all of its work.
pub(crate) fn sendable<F: Future + Send>(future: F) -> F {
    future
}

/// The rows of a page that says what the records say.
pub(crate) fn rows(records: &[Record]) -> Vec<Row> {
    let row = |record: &Record| {
        let listing = match record {
            Record::Contact(_) => Listing::Contacts,
            Record::Conversation(_) => Listing::Conversations,
            Record::Message(message) => Listing::Messages {
                conversation_id: message.conversation_id.clone(),
            },
        };
        let text = serde_json::json!({ "id": record.id(), "says": format!("{record:?}") });
        Row::decoded(listing, record.clone(), serde_json::value::to_raw_value(&text).unwrap())
    };
    records.iter().map(row).collect()
}

/// A contact of a page, as the server wrote it.
pub(crate) fn read(text: &str) -> Row {
    Row::read(&Listing::Contacts, RawValue::from_string(text.to_owned()).unwrap()).unwrap()
}

/// Commits records of one resource, without a checkpoint.
pub(crate) async fn commit(warehouse: &Warehouse, records: &[Record]) -> Vec<RowOutcome> {
    commit_with(warehouse, records, &[]).await
}

pub(crate) async fn commit_with(warehouse: &Warehouse, records: &[Record], rejected: &[Rejected]) -> Vec<RowOutcome> {
    let page = PageCommit {
        account: ACCOUNT,
        resource: records.first().map_or(Resource::Contacts, Record::resource),
        conversation: None,
        rows: &rows(records),
        rejected,
        asked: None,
    };
    sendable(warehouse.commit_page(&page, |_| None)).await.unwrap()
}

pub(crate) fn changes(outcomes: &[RowOutcome]) -> Vec<Change> {
    outcomes.iter().map(|outcome| outcome.change).collect()
}

pub(crate) fn nums(outcomes: &[RowOutcome]) -> Vec<u64> {
    outcomes.iter().map(|outcome| outcome.num.unwrap()).collect()
}
