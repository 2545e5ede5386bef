//! Values between JSON and Tryton, which has decimals, dates and times of its own: objects with `__class__`.

use std::str::FromStr as _;

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

pub(super) use crate::stored::{escaped, is_storable, record_id, stripped};

/// A quantity or an amount: a `Decimal`, or a JSON number. `None` if it is null or something else.
pub(super) fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            Decimal::from_str(&text)
                .or_else(|_| Decimal::from_scientific(&text))
                .ok()
        }
        Value::Object(object) if object.get("__class__")?.as_str()? == "Decimal" => {
            let text = object.get("decimal")?.as_str()?;
            Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok()
        }
        _ => None,
    }
}

/// A `Decimal` for Tryton.
pub(super) fn encoded_decimal(value: Decimal) -> Value {
    json!({"__class__": "Decimal", "decimal": value.to_string()})
}

/// A point in time, which Tryton keeps in UTC.
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    let part = |name: &str| u32::try_from(value.get(name)?.as_u64()?).ok();
    if value.get("__class__")?.as_str()? != "datetime" {
        return None;
    }
    let time =
        date_of(value)?.and_hms_micro_opt(part("hour")?, part("minute")?, part("second")?, part("microsecond")?)?;
    Some(time.and_utc())
}

/// A point in time for Tryton.
pub(super) fn encoded_time(time: DateTime<Utc>) -> Value {
    json!({
        "__class__": "datetime", "year": time.year(), "month": time.month(), "day": time.day(),
        "hour": time.hour(), "minute": time.minute(), "second": time.second(),
        "microsecond": time.timestamp_subsec_micros(),
    })
}

/// A day.
pub(super) fn date(value: &Value) -> Option<NaiveDate> {
    (value.get("__class__")?.as_str()? == "date").then(|| date_of(value))?
}

/// A day for Tryton.
pub(super) fn encoded_date(date: NaiveDate) -> Value {
    json!({"__class__": "date", "year": date.year(), "month": date.month(), "day": date.day()})
}

fn date_of(value: &Value) -> Option<NaiveDate> {
    let part = |name: &str| value.get(name)?.as_i64();
    NaiveDate::from_ymd_opt(
        i32::try_from(part("year")?).ok()?,
        u32::try_from(part("month")?).ok()?,
        u32::try_from(part("day")?).ok()?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_from_both_forms_and_nothing_else() {
        let read = |value: Value| decimal(&value).map(|decimal| decimal.to_string());
        assert_eq!(
            read(json!({"__class__": "Decimal", "decimal": "8999.00"})).as_deref(),
            Some("8999.00")
        );
        assert_eq!(
            read(json!({"__class__": "Decimal", "decimal": "1E+3"})).as_deref(),
            Some("1000")
        );
        assert_eq!(read(json!(7.5)).as_deref(), Some("7.5"));
        assert_eq!(read(json!(1e-7)).as_deref(), Some("0.0000001"));
        for unknown in [
            json!(null),
            json!("7"),
            json!({"__class__": "Decimal", "decimal": "NaN"}),
            json!({}),
        ] {
            assert_eq!(decimal(&unknown), None, "{unknown}");
        }
    }

    #[test]
    fn times_and_dates_come_back_as_they_went() {
        let at = DateTime::parse_from_rfc3339("2026-11-26T02:40:25.960324Z")
            .unwrap()
            .to_utc();
        assert_eq!(time(&encoded_time(at)), Some(at));
        let day = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
        assert_eq!(date(&encoded_date(day)), Some(day));
        assert_eq!(time(&encoded_date(day)), None);
        assert_eq!(time(&json!({"__class__": "datetime", "year": 2026})), None);
    }
}
