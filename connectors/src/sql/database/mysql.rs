//! MySQL and MariaDB: `START TRANSACTION READ ONLY`, and a limit of time that the two call by different names.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow, MySqlTypeInfo};
use sqlx::{
    Arguments as _, AssertSqlSafe, Executor as _, MySql, MySqlConnection, Row as _, TypeInfo as _, ValueRef as _,
};

use super::{Session, same_for_all};
use crate::sql::query::{Bound, Dialect};
use crate::sql::value::Cell;

impl Session for MySqlConnection {
    const DIALECT: Dialect = Dialect::Mysql;

    fn options(url: &str, _limit: Duration) -> Result<MySqlConnectOptions, sqlx::Error> {
        let options: MySqlConnectOptions = url.parse()?;
        // Times are to be UTC, whatever the URL says; modes are set below.
        Ok(options
            .timezone("+00:00".to_owned())
            .pipes_as_concat(false)
            .no_engine_substitution(false))
    }

    /// Sets the mode that queries are read in, the same on every server: `||` joins texts, `\` escapes, `"` quotes texts.
    async fn settle(&mut self, limit: Duration, _stop: &Arc<AtomicBool>) -> Result<(), sqlx::Error> {
        let row = self.fetch_one(sqlx::raw_sql("SELECT VERSION()")).await?;
        let version: String = row.try_get_unchecked(0)?;
        let limit = if version.contains("MariaDB") {
            format!("max_statement_time = {}", limit.as_secs_f64())
        } else {
            format!("max_execution_time = {}", limit.as_millis())
        };
        let settings =
            format!("SET SESSION TRANSACTION READ ONLY; SET SESSION sql_mode = 'PIPES_AS_CONCAT', SESSION {limit}");
        self.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await.map(drop)
    }

    async fn begin_reading(&mut self, _limit: Duration) -> Result<(), sqlx::Error> {
        self.execute(sqlx::raw_sql("START TRANSACTION READ ONLY"))
            .await
            .map(drop)
    }

    same_for_all!(MySql, true);
}

fn bind(arguments: &mut MySqlArguments, value: &Bound) -> Result<(), BoxDynError> {
    match value {
        Bound::Text(text) => arguments.add(text.clone()),
        Bound::NoText => arguments.add(None::<String>),
        Bound::Integer(integer) => arguments.add(*integer),
        Bound::Decimal(decimal) => arguments.add(*decimal),
    }
}

/// It asks for none before the values come.
fn types(_bound: &[Bound]) -> Vec<MySqlTypeInfo> {
    Vec::new()
}

fn cell(row: &MySqlRow, at: usize) -> Cell {
    let Ok(value) = row.try_get_raw(at) else {
        return Cell::Other;
    };
    // A date of nothing but zeros, which MySQL has, is one of these.
    if value.is_null() {
        return Cell::Null;
    }
    let kind = value.type_info().name().to_owned();
    let cell = match kind.as_str() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => row
            .try_get_unchecked::<i64, _>(at)
            .map(|value| Cell::Text(value.to_string())),
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "BIGINT UNSIGNED" => row
            .try_get_unchecked::<u64, _>(at)
            .map(|value| Cell::Text(value.to_string())),
        "FLOAT" => row.try_get_unchecked::<f32, _>(at).map(Cell::single),
        "DOUBLE" => row.try_get_unchecked::<f64, _>(at).map(Cell::double),
        "TIMESTAMP" | "DATETIME" => row.try_get_unchecked::<DateTime<Utc>, _>(at).map(Cell::Time),
        "DATE" => row
            .try_get_unchecked::<NaiveDate, _>(at)
            .map(|day| Cell::naive(day.and_time(chrono::NaiveTime::MIN))),
        // Decimals come as texts, with all their digits.
        "DECIMAL" | "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "SET"
        | "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            row.try_get_unchecked::<Vec<u8>, _>(at).map(Cell::bytes)
        }
        _ => Ok(Cell::Other),
    };
    cell.unwrap_or(Cell::Other)
}
