//! Values as the databases give them, and what can be made of them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use rust_decimal::Decimal;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    /// A text, or a number in its shortest decimal form.
    Text(String),
    Time(DateTime<Utc>),
    /// Of a type that is neither text, number nor time.
    Other,
}

impl Cell {
    /// A float as the shortest decimal number that is the same float.
    pub(super) fn double(value: f64) -> Self {
        Self::Text(format!("{value}"))
    }

    /// The same of half the precision.
    pub(super) fn single(value: f32) -> Self {
        Self::Text(format!("{value}"))
    }

    /// Bytes that are to be a text.
    pub(super) fn bytes(value: Vec<u8>) -> Self {
        String::from_utf8(value).map_or(Self::Other, Self::Text)
    }

    /// A day, or a time that names no zone: it is taken to be UTC.
    pub(super) fn naive(value: NaiveDateTime) -> Self {
        Self::Time(value.and_utc())
    }

    /// About how many bytes it takes up.
    pub(super) fn size(&self) -> usize {
        let text = if let Self::Text(text) = self { text.len() } else { 0 };
        text + size_of::<Self>()
    }

    /// The text; `None` for NULL.
    pub(super) fn text(self) -> Result<Option<String>, &'static str> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Time(time) => Ok(Some(time.to_rfc3339())),
            Self::Other => Err("is no text; cast it to one"),
        }
    }

    /// The number; `None` for NULL. Of the places behind the point, as many are kept as 28 digits have room for.
    pub(super) fn decimal(&self) -> Result<Option<Decimal>, &'static str> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => decimal(text)
                .map(Some)
                .ok_or("is no number, or has more than 28 digits before the point"),
            Self::Time(_) | Self::Other => Err("is no number; cast it to NUMERIC"),
        }
    }

    /// The time; `None` for NULL.
    pub(super) fn time(&self) -> Result<Option<DateTime<Utc>>, &'static str> {
        match self {
            Self::Null => Ok(None),
            Self::Time(time) => Ok(Some(*time)),
            Self::Text(text) => time(text)
                .map(Some)
                .ok_or("is no time: 2026-01-19T10:00:00Z is one, and without Z it is taken to be UTC"),
            Self::Other => Err("is no time; cast it to a timestamp"),
        }
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    let text = text.trim();
    // What `Decimal` reads beyond plain numbers, such as 1_000, nobody means.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
    {
        return None;
    }
    if text.contains(['e', 'E']) {
        return Decimal::from_scientific(text).ok();
    }
    // Zeros at the end say nothing, and would use up the digits there is room for.
    let text = match text.split_once('.') {
        Some((whole, fraction)) if fraction.len() > 20 => {
            let fraction = fraction.trim_end_matches('0');
            format!("{whole}.{fraction}").trim_end_matches('.').to_owned()
        }
        _ => text.to_owned(),
    };
    text.parse().ok()
}

/// A time; one that names no zone is taken to be UTC.
pub(crate) fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    for zoned in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, zoned) {
            return Some(time.to_utc());
        }
    }
    for naive in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, naive) {
            return Some(time.and_utc());
        }
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_time(chrono::NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Option<Decimal> {
        Cell::Text(text.to_owned()).decimal().unwrap_or(None)
    }

    #[test]
    fn a_number_is_exact_and_everything_else_is_none() {
        for (text, number_of) in [
            ("8999.00", "8999.00"),
            (" -0.1 ", "-0.1"),
            ("1e3", "1000"),
            ("+7", "7"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("1.000000000000000000000000000000", "1"),
            ("9999999999999999999999999999", "9999999999999999999999999999"),
            ("0.3333333333333333333333333333333", "0.3333333333333333333333333333"),
        ] {
            assert_eq!(number(text).unwrap().to_string(), number_of, "{text}");
        }
        for text in [
            "", " ", "1,5", "1_000", "NaN", "inf", "0x10", "12 pcs", "e", "-", ".", "1e99999",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number(&"9".repeat(40)), None);
        assert!(Cell::double(f64::NAN).decimal().is_err());
        assert_eq!(Cell::double(0.1).decimal().unwrap().unwrap().to_string(), "0.1");
        assert_eq!(Cell::single(0.1).decimal().unwrap().unwrap().to_string(), "0.1");
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        for text in [
            "2026-01-19T10:00:00Z",
            "2026-01-19 12:00:00+02",
            "2026-01-19 12:00:00.000+02:00",
            "2026-01-19 10:00:00",
            "2026-01-19 10:00",
            "2026-01-19T10:00:00.0",
        ] {
            let time = Cell::Text(text.to_owned()).time().unwrap().unwrap();
            assert_eq!(time.to_rfc3339(), "2026-01-19T10:00:00+00:00", "{text}");
        }
        for text in ["", "yesterday", "1768816800", "2026-13-01", "0000-00-00 00:00:00"] {
            assert!(Cell::Text(text.to_owned()).time().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_for_a_number_or_a_time(text in ".{0,40}|[0-9eE+.-]{0,60}") {
            let cell = Cell::Text(text);
            let _ = cell.decimal();
            let _ = cell.time();
        }

        #[test]
        fn a_decimal_survives(mantissa in any::<i64>(), scale in 0_u32..28) {
            let decimal = Decimal::new(mantissa, scale);
            prop_assert_eq!(number(&decimal.to_string()), Some(decimal));
        }

        #[test]
        fn a_float_of_ordinary_size_survives(value in -1e15_f64..1e15) {
            let text = Cell::double(value).decimal().unwrap().unwrap().to_string();
            let back: f64 = text.parse().unwrap();
            prop_assert!((back - value).abs() <= 1e-27);
        }
    }
}
