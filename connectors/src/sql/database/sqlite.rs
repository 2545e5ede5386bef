//! SQLite: the file is opened for reading, `query_only` is on, and a progress handler stops what is not wanted any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rust_decimal::prelude::ToPrimitive as _;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow, SqliteTypeInfo};
use sqlx::{Arguments as _, Executor as _, Row as _, Sqlite, SqliteConnection, TypeInfo as _, ValueRef as _};

use super::{Session, same_for_all};
use crate::sql::query::{Bound, Dialect};
use crate::sql::value::Cell;

/// How many steps of SQLite's machine pass between two looks at whether to stop: well under a millisecond.
const STEPS: i32 = 1_000;

impl Session for SqliteConnection {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn options(url: &str, limit: Duration) -> Result<SqliteConnectOptions, sqlx::Error> {
        let options: SqliteConnectOptions = url.parse()?;
        Ok(options
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(limit)
            .pragma("query_only", "ON"))
    }

    async fn settle(&mut self, _limit: Duration, stop: &Arc<AtomicBool>) -> Result<(), sqlx::Error> {
        let stop = Arc::clone(stop);
        let mut handle = self.lock_handle().await?;
        handle.set_progress_handler(STEPS, move || !stop.load(Ordering::Relaxed));
        Ok(())
    }

    /// Reads something, whereby the tables stay as they are until the end: the driver has no answer to a statement whose
    /// columns change after it was prepared. That is why none is kept prepared, either.
    async fn begin_reading(&mut self, _limit: Duration) -> Result<(), sqlx::Error> {
        let begin = "BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1";
        self.execute(sqlx::raw_sql(begin)).await.map(drop)
    }

    same_for_all!(Sqlite, false);
}

fn bind(arguments: &mut SqliteArguments, value: &Bound) -> Result<(), BoxDynError> {
    match value {
        Bound::Text(text) => arguments.add(text.clone()),
        Bound::NoText => arguments.add(None::<String>),
        Bound::Integer(integer) => arguments.add(*integer),
        // It has no decimals: what is not whole is a float there anyway.
        Bound::Decimal(decimal) => match decimal.to_i64() {
            Some(whole) if decimal.fract().is_zero() => arguments.add(whole),
            _ => arguments.add(decimal.to_f64()),
        },
    }
}

/// It asks for none before the values come.
fn types(_bound: &[Bound]) -> Vec<SqliteTypeInfo> {
    Vec::new()
}

/// Values have types there, rather than columns.
fn cell(row: &SqliteRow, at: usize) -> Cell {
    let Ok(value) = row.try_get_raw(at) else {
        return Cell::Other;
    };
    if value.is_null() {
        return Cell::Null;
    }
    let kind = value.type_info().name().to_owned();
    let cell = match kind.as_str() {
        "INTEGER" => row
            .try_get_unchecked::<i64, _>(at)
            .map(|value| Cell::Text(value.to_string())),
        "REAL" => row.try_get_unchecked::<f64, _>(at).map(Cell::double),
        "TEXT" => row.try_get_unchecked::<String, _>(at).map(Cell::Text),
        _ => Ok(Cell::Other),
    };
    cell.unwrap_or(Cell::Other)
}
