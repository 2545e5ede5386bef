//! A database for a mirror, read as a BI tool would: plain SQL on the contract's tables.

#![expect(
    clippy::disallowed_methods,
    reason = "what the program wrote is read behind its back"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, PgConnection, SqliteConnection, TypeInfo as _};
use tempfile::TempDir;

use super::postgres::fresh_schema;

/// An empty database.
pub(crate) enum Database {
    Sqlite { file: PathBuf, _folder: Option<TempDir> },
    Postgres { url: String, schema: String },
}

/// The tables that mirror the API's lists, and their history.
pub(crate) const MIRRORED: [&str; 5] = [
    "contacts",
    "conversations",
    "messages",
    "contacts_history",
    "conversations_history",
];

/// A row as text, by column.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row(pub(crate) BTreeMap<String, Option<String>>);

impl Row {
    /// A column's value, if it is not NULL.
    pub(crate) fn get(&self, column: &str) -> Option<&str> {
        let value = self
            .0
            .get(column)
            .unwrap_or_else(|| panic!("there is no column {column}"));
        value.as_deref()
    }

    /// A column that is never NULL.
    pub(crate) fn text(&self, column: &str) -> &str {
        self.get(column).unwrap_or_else(|| panic!("{column} is NULL"))
    }

    /// A point in time.
    pub(crate) fn time(&self, column: &str) -> Option<DateTime<Utc>> {
        self.get(column).map(read_time)
    }

    /// A count.
    pub(crate) fn count(&self, column: &str) -> u64 {
        self.text(column).parse().unwrap()
    }
}

/// A timestamp as either database shows it.
fn read_time(text: &str) -> DateTime<Utc> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.to_utc();
    }
    let utc = text
        .strip_suffix("+00")
        .unwrap_or_else(|| panic!("no timestamp in UTC: {text}"));
    NaiveDateTime::parse_from_str(utc, "%Y-%m-%d %H:%M:%S%.f")
        .unwrap()
        .and_utc()
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        Self::Sqlite {
            file: folder.path().join("warehouse.db"),
            _folder: Some(folder),
        }
    }

    /// A SQLite file that is there already.
    pub(crate) fn file(file: &Path) -> Self {
        Self::Sqlite {
            file: file.to_owned(),
            _folder: None,
        }
    }

    pub(crate) fn postgres() -> Self {
        let schema = fresh_schema();
        Self::Postgres {
            url: schema.url,
            schema: schema.schema,
        }
    }

    /// Another, of the same kind.
    pub(crate) fn another(&self) -> Self {
        if self.is_sqlite() {
            Self::sqlite()
        } else {
            Self::postgres()
        }
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    /// Its URL, as in the configuration.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => format!("sqlite://{}", file.display()),
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    /// The schema that holds the tables, where there are schemas.
    pub(crate) fn schema(&self) -> String {
        match self {
            Self::Sqlite { .. } => "ignored".to_owned(),
            Self::Postgres { schema, .. } => schema.clone(),
        }
    }

    /// The section of the configuration that names it.
    pub(crate) fn config(&self) -> String {
        let schema = self.schema();
        format!("[warehouse]\nurl = {:?}\nschema = {schema:?}\n", self.url())
    }

    /// The rows of a query, as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        match self {
            Self::Sqlite { .. } => {
                let mut conn = SqliteConnection::connect(&self.url()).await.unwrap();
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                    .fetch_all(&mut conn)
                    .await
                    .unwrap();
                conn.close().await.unwrap();
                rows.iter().map(as_text).collect()
            }
            Self::Postgres { .. } => {
                let mut conn = self.postgres_connection().await;
                // The simple protocol, which raw_sql uses, gives every value as text.
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .fetch_all(&mut conn)
                    .await
                    .unwrap();
                conn.close().await.unwrap();
                rows.iter().map(as_text).collect()
            }
        }
    }

    /// All rows of a table.
    pub(crate) async fn table(&self, name: &str) -> Vec<Row> {
        self.rows(&format!("SELECT * FROM {name} ORDER BY 1, 2, 3")).await
    }

    /// The first column of a query's only row.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}");
        rows[0].0.values().next().unwrap().clone().unwrap_or_default()
    }

    /// Runs statements that return nothing.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite { .. } => {
                let mut conn = SqliteConnection::connect(&self.url()).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
            Self::Postgres { .. } => {
                let mut conn = self.postgres_connection().await;
                sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
        }
    }

    async fn postgres_connection(&self) -> PgConnection {
        let Self::Postgres { url, schema } = self else {
            panic!("this is SQLite")
        };
        let mut conn = PgConnection::connect(url).await.unwrap();
        let set = format!("SET search_path TO \"{schema}\"; SET timezone TO 'UTC'; SET extra_float_digits TO 3");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut conn).await.unwrap();
        conn
    }

    /// From now on, whoever writes to a mirrored table fails.
    pub(crate) async fn forbid_writes(&self) {
        if !self.is_sqlite() {
            self.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'written to %', TG_TABLE_NAME; END $$",
            )
            .await;
        }
        for table in MIRRORED {
            if self.is_sqlite() {
                for event in ["INSERT", "UPDATE", "DELETE"] {
                    self.execute(&format!(
                        "CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} \
                         BEGIN SELECT RAISE(ABORT, 'written to {table}'); END"
                    ))
                    .await;
                }
            } else {
                self.execute(&format!(
                    "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON {table} EXECUTE FUNCTION refuse()"
                ))
                .await;
            }
        }
    }

    /// A crash must leave the file whole.
    pub(crate) async fn assert_sound(&self) {
        if self.is_sqlite() {
            assert_eq!(self.value("PRAGMA integrity_check").await, "ok");
        }
    }
}

fn as_text<R: sqlx::Row>(row: &R) -> Row
where
    usize: sqlx::ColumnIndex<R>,
    String: for<'a> sqlx::Decode<'a, R::Database>,
    Vec<u8>: for<'a> sqlx::Decode<'a, R::Database>,
{
    let value = |column: &<R::Database as sqlx::Database>::Column| {
        let index = column.ordinal();
        if column.type_info().name() == "BLOB" {
            let bytes = row.try_get_unchecked::<Option<Vec<u8>>, usize>(index).unwrap();
            return bytes.map(hex::encode);
        }
        row.try_get_unchecked::<Option<String>, usize>(index).unwrap()
    };
    let columns = row.columns().iter();
    Row(columns
        .map(|column| (column.name().to_owned(), value(column)))
        .collect())
}
