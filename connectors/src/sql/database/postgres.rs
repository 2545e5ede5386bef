//! PostgreSQL: `BEGIN READ ONLY` and a `statement_timeout`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow, PgTypeInfo, PgTypeKind, PgValueFormat};
use sqlx::{
    Arguments as _, AssertSqlSafe, Executor as _, PgConnection, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _,
};

use super::{Session, same_for_all};
use crate::sql::query::{Bound, Dialect};
use crate::sql::value::Cell;

impl Session for PgConnection {
    const DIALECT: Dialect = Dialect::Postgres;

    fn options(url: &str, _limit: Duration) -> Result<PgConnectOptions, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        Ok(options.application_name("allai-sync"))
    }

    /// Lets the server notice while it works, from version 14, that nobody waits any more.
    async fn settle(&mut self, _limit: Duration, _stop: &Arc<AtomicBool>) -> Result<(), sqlx::Error> {
        let notice = "SELECT set_config('client_connection_check_interval', '250', false) \
                      WHERE current_setting('server_version_num')::int >= 140000 AND version() LIKE '%linux%'";
        self.execute(sqlx::raw_sql(notice)).await.map(drop)
    }

    /// In one go, and for this transaction only, so that poolers between do no harm.
    async fn begin_reading(&mut self, limit: Duration) -> Result<(), sqlx::Error> {
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL standard_conforming_strings = on",
            limit.as_millis()
        );
        self.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await.map(drop)
    }

    same_for_all!(Postgres, true);
}

fn bind(arguments: &mut PgArguments, value: &Bound) -> Result<(), BoxDynError> {
    match value {
        Bound::Text(text) => arguments.add(text.clone()),
        Bound::NoText => arguments.add(None::<String>),
        Bound::Integer(integer) => arguments.add(*integer),
        Bound::Decimal(decimal) => arguments.add(*decimal),
    }
}

/// As they are bound: what it would take them for itself may be something else.
fn types(bound: &[Bound]) -> Vec<PgTypeInfo> {
    let of = |value: &Bound| match value {
        Bound::Text(_) | Bound::NoText => <String as Type<Postgres>>::type_info(),
        Bound::Integer(_) => <i64 as Type<Postgres>>::type_info(),
        Bound::Decimal(_) => <Decimal as Type<Postgres>>::type_info(),
    };
    bound.iter().map(of).collect()
}

fn cell(row: &PgRow, at: usize) -> Cell {
    let Ok(value) = row.try_get_raw(at) else {
        return Cell::Other;
    };
    if value.is_null() {
        return Cell::Null;
    }
    let Ok(bytes) = value.as_bytes() else {
        return Cell::Other;
    };
    if value.format() == PgValueFormat::Text {
        return Cell::bytes(bytes.to_vec());
    }
    let info = value.type_info();
    if matches!(info.kind(), PgTypeKind::Enum(_)) {
        return Cell::bytes(bytes.to_vec());
    }
    from_binary(info.name(), bytes).unwrap_or(Cell::Other)
}

/// The drivers' own conversions round numbers of many digits, and panic at infinite times.
fn from_binary(name: &str, bytes: &[u8]) -> Option<Cell> {
    let cell = match name {
        "NUMERIC" => Cell::Text(numeric(bytes)?),
        "INT2" => Cell::Text(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "INT4" => Cell::Text(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "INT8" => Cell::Text(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "FLOAT4" => Cell::single(f32::from_be_bytes(bytes.try_into().ok()?)),
        "FLOAT8" => Cell::double(f64::from_be_bytes(bytes.try_into().ok()?)),
        "TEXT" | "VARCHAR" | "NAME" | "UNKNOWN" | "citext" => Cell::bytes(bytes.to_vec()),
        // What fills a CHAR(n) up is no part of its value.
        "CHAR" => Cell::bytes(bytes.trim_ascii_end().to_vec()),
        "TIMESTAMPTZ" | "TIMESTAMP" => Cell::Time(time(i64::from_be_bytes(bytes.try_into().ok()?))?),
        "DATE" => Cell::naive(day(i32::from_be_bytes(bytes.try_into().ok()?))?.and_time(chrono::NaiveTime::MIN)),
        _ => return None,
    };
    Some(cell)
}

/// Microseconds since the beginning of 2000; the least and the greatest are infinite.
fn time(micros: i64) -> Option<DateTime<Utc>> {
    const UNTIL_2000: i64 = 946_684_800_000_000;
    DateTime::from_timestamp_micros(micros.checked_add(UNTIL_2000)?)
}

fn day(days: i32) -> Option<NaiveDate> {
    let start = NaiveDate::from_ymd_opt(2000, 1, 1)?;
    let distance = Days::new(u64::from(days.unsigned_abs()));
    if days < 0 {
        start.checked_sub_days(distance)
    } else {
        start.checked_add_days(distance)
    }
}

/// Groups of four digits: how many, how many of them are before the point (less one), sign, digits behind the point.
/// <https://github.com/postgres/postgres/blob/REL_17_STABLE/src/backend/utils/adt/numeric.c>, `numeric_send`.
fn numeric(bytes: &[u8]) -> Option<String> {
    use std::fmt::Write as _;

    let word = |at: usize| -> Option<u16> {
        let pair = bytes.get(at * 2..at * 2 + 2)?;
        Some(u16::from_be_bytes([pair[0], pair[1]]))
    };
    let count = i32::from(word(0)?);
    let weight = i32::from(word(1)?.cast_signed());
    let sign = match word(2)? {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => return Some("NaN".to_owned()),
        _ => return Some("infinite".to_owned()),
    };
    let scale = usize::from(word(3)?);
    // A number of this many digits is none that we could hold; what it says would only be long.
    if !(-10_000..=10_000).contains(&weight) {
        return None;
    }
    let group = |at: i32| -> Option<u16> {
        if (0..count).contains(&at) {
            word(4 + usize::try_from(at).ok()?).filter(|group| *group < 10_000)
        } else {
            Some(0)
        }
    };
    let mut text = sign.to_owned();
    if weight < 0 {
        text.push('0');
    }
    for at in 0..=weight {
        let group = group(at)?;
        if at == 0 {
            write!(text, "{group}").ok()?;
        } else {
            write!(text, "{group:04}").ok()?;
        }
    }
    if scale > 0 {
        let mut fraction = String::new();
        // Groups that are not sent, before the first or after the last, are zeros.
        let mut at = weight + 1;
        while fraction.len() < scale {
            write!(fraction, "{:04}", group(at)?).ok()?;
            at += 1;
        }
        fraction.truncate(scale);
        write!(text, ".{fraction}").ok()?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let count = u16::try_from(groups.len()).unwrap();
        [count, weight.cast_unsigned(), sign, scale]
            .iter()
            .chain(groups)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    #[test]
    fn numbers_are_read_digit_by_digit() {
        for (bytes, text) in [
            (binary(0, 0, 0, &[]), "0"),
            (binary(0, 0, 2, &[]), "0.00"),
            (binary(0, 0, 2, &[8999, 5000]), "8999.50"),
            (binary(1, 0x4000, 0, &[1]), "-10000"),
            (binary(1, 0, 3, &[1, 23, 4500]), "10023.450"),
            (binary(-1, 0, 4, &[12]), "0.0012"),
            (binary(-2, 0, 8, &[12]), "0.00000012"),
            (binary(-3, 0, 12, &[1234]), "0.000000001234"),
            (binary(0, 0xC000, 0, &[]), "NaN"),
            (binary(0, 0xD000, 0, &[]), "infinite"),
        ] {
            assert_eq!(numeric(&bytes).as_deref(), Some(text));
        }
        assert_eq!(numeric(&[0, 1]), None);
        assert_eq!(numeric(&binary(0, 0, 0, &[60_000])), None);
    }

    #[test]
    fn infinite_times_are_none() {
        assert_eq!(time(i64::MAX), None);
        assert_eq!(time(i64::MIN), None);
        assert_eq!(day(i32::MAX), None);
        assert_eq!(day(i32::MIN), None);
        assert_eq!(time(0).unwrap().to_rfc3339(), "2000-01-01T00:00:00+00:00");
        assert_eq!(day(-1).unwrap().to_string(), "1999-12-31");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for name in ["NUMERIC", "INT4", "FLOAT8", "TIMESTAMP", "DATE", "TEXT", "CHAR", "JSON"] {
                let _ = from_binary(name, &bytes);
            }
        }
    }
}
