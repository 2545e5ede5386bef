//! The mirror, read behind the program's back, as a BI tool would.

#![expect(
    clippy::disallowed_methods,
    reason = "what the program wrote is read behind its back"
)]

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::model::Kind;

/// A connection of the oracle's own.
pub(crate) enum Reader {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// What the mirror says of a row: whether it is live, and the version it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) live: bool,
    pub(crate) version: Option<usize>,
}

/// The rows of a table, by the id of their conversation (for messages; else empty) and their own.
pub(crate) type Presence = BTreeMap<(String, String), Held>;

/// A live row's columns, as text, in the order of [`columns`].
pub(crate) type Columns = BTreeMap<(String, String), Vec<Option<String>>>;

/// The columns that hold content, of a table.
pub(crate) const fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Contact => &[
            "name",
            "email",
            "phone",
            "tags",
            "custom_fields",
            "created_at",
            "updated_at",
            "extra",
        ],
        Kind::Conversation => &[
            "chatbot_id",
            "contact_id",
            "visitor_name",
            "visitor_email",
            "visitor",
            "channel",
            "status",
            "resolution",
            "metadata",
            "created_at",
            "updated_at",
            "closed_at",
            "extra",
        ],
        Kind::Message => &["role", "type", "content", "confidence", "sources", "sent_at", "extra"],
    }
}

pub(crate) const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Contact => "contacts",
        Kind::Conversation => "conversations",
        Kind::Message => "messages",
    }
}

const PRESENCE: [&str; 3] = [
    "SELECT '', id, deleted_at IS NULL, CAST(extra AS TEXT) FROM contacts WHERE account = $1",
    "SELECT '', id, deleted_at IS NULL, CAST(extra AS TEXT) FROM conversations WHERE account = $1",
    "SELECT conversation_id, id, deleted_at IS NULL, CAST(extra AS TEXT) FROM messages WHERE account = $1",
];
const CONTENT: [&str; 3] = [
    "SELECT '', id, name, email, phone, CAST(tags AS TEXT), CAST(custom_fields AS TEXT), CAST(created_at AS TEXT), \
     CAST(updated_at AS TEXT), CAST(extra AS TEXT) FROM contacts WHERE account = $1 AND deleted_at IS NULL",
    "SELECT '', id, chatbot_id, contact_id, visitor_name, visitor_email, CAST(visitor AS TEXT), channel, status, \
     resolution, CAST(metadata AS TEXT), CAST(created_at AS TEXT), CAST(updated_at AS TEXT), \
     CAST(closed_at AS TEXT), CAST(extra AS TEXT) FROM conversations WHERE account = $1 AND deleted_at IS NULL",
    "SELECT conversation_id, id, role, type, content, CAST(confidence AS TEXT), CAST(sources AS TEXT), \
     CAST(sent_at AS TEXT), CAST(extra AS TEXT) FROM messages WHERE account = $1 AND deleted_at IS NULL",
];
const QUARANTINED: &str = "SELECT count(*) FROM quarantine WHERE account = $1";

const fn at(kind: Kind) -> usize {
    match kind {
        Kind::Contact => 0,
        Kind::Conversation => 1,
        Kind::Message => 2,
    }
}

impl Reader {
    pub(crate) async fn sqlite(url: &str) -> Self {
        Self::Sqlite(SqliteConnection::connect(url).await.unwrap())
    }

    pub(crate) async fn postgres(url: &str, schema: &str) -> Self {
        let mut conn = PgConnection::connect(url).await.unwrap();
        sqlx::query("SELECT set_config('search_path', $1, false), set_config('timezone', 'UTC', false)")
            .bind(schema)
            .execute(&mut conn)
            .await
            .unwrap();
        Self::Postgres(conn)
    }

    /// What the mirror holds of a resource.
    pub(crate) async fn presence(&mut self, account: &str, kind: Kind) -> Presence {
        let sql = PRESENCE[at(kind)];
        let rows: Vec<(String, String, bool, Option<String>)> = match self {
            Self::Sqlite(conn) => sqlx::query_as(sql).bind(account).fetch_all(conn).await.unwrap(),
            Self::Postgres(conn) => sqlx::query_as(sql).bind(account).fetch_all(conn).await.unwrap(),
        };
        rows.into_iter()
            .map(|(conversation, id, live, extra)| {
                let version = extra.as_deref().and_then(version);
                ((conversation, id), Held { live, version })
            })
            .collect()
    }

    /// The content of all live rows of a resource.
    pub(crate) async fn content(&mut self, account: &str, kind: Kind) -> Columns {
        let sql = CONTENT[at(kind)];
        let width = columns(kind).len();
        macro_rules! read {
            ($conn:expr) => {
                sqlx::query(sql)
                    .bind(account)
                    .fetch_all($conn)
                    .await
                    .unwrap()
                    .iter()
                    .map(|row| {
                        let columns = (0..width).map(|column| row.get(column + 2)).collect();
                        ((row.get(0), row.get(1)), columns)
                    })
                    .collect()
            };
        }
        match self {
            Self::Sqlite(conn) => read!(conn),
            Self::Postgres(conn) => read!(conn),
        }
    }

    /// How many rows are in quarantine, where none belongs.
    pub(crate) async fn quarantined(&mut self, account: &str) -> i64 {
        match self {
            Self::Sqlite(conn) => sqlx::query_scalar(QUARANTINED).bind(account).fetch_one(conn).await,
            Self::Postgres(conn) => sqlx::query_scalar(QUARANTINED).bind(account).fetch_one(conn).await,
        }
        .unwrap()
    }
}

/// The member `version` of `extra`.
fn version(extra: &str) -> Option<usize> {
    let rest = extra.split_once("\"version\":")?.1.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
