//! Durations on the command line: `250ms`, `30s`, `1m`, `-90s`.

use std::time::Duration;

use chrono::TimeDelta;

/// Reads a duration: a number (a fraction is fine) with a unit of `ms`, `s`, `m`, `h` or `d`. A bare `0` is a
/// duration too. Fails with what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = parse_seconds(text)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is not a duration of zero or more"))
}

/// Reads a duration that may be negative, e.g. `-90s`. Fails with what was expected.
pub fn parse_signed_duration(text: &str) -> Result<TimeDelta, String> {
    let seconds = parse_seconds(text)?;
    if seconds.abs() > 1e9 {
        return Err(format!("`{text}` is too long"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the check above")]
    Ok(TimeDelta::milliseconds((seconds * 1000.0).round() as i64))
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let expected = || format!("`{text}` is not a duration; write it like 250ms, 30s, 5m, 2h or 1d");
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" if number == 0.0 => 1.0,
        _ => return Err(expected()),
    };
    Ok(number * scale)
}

/// Reads a share between 0 and 1. Fails with what was expected.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!(
            "`{text}` is not a share between 0 and 1, e.g. 0.1 for one in ten"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_mins(1)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_signed_duration("-90s"), Ok(TimeDelta::seconds(-90)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "12", "s", "-1s", "5 weeks", "1e999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("12").unwrap_err().contains("30s"));
        assert!(parse_share("1.5").is_err());
    }
}
