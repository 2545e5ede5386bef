//! Figures as people read them.

use std::time::Duration;

/// Seconds in the two largest units a person needs.
pub fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3_600 => format!("{} min", s / 60),
        s @ 3_600..172_800 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        s => format!("{} days", s / 86_400),
    }
}

/// How long something took, which may be little.
pub fn took(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1_000.0),
        ..120.0 => format!("{seconds:.1} s"),
        _ => {
            let whole = Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs());
            duration(i64::try_from(whole).unwrap_or(i64::MAX))
        }
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234), "1,234");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3_599), "59 min");
        assert_eq!(duration(3_660), "1 h 1 min");
        assert_eq!(duration(400_000), "4 days");
        assert_eq!(took(0.0214), "21 ms");
        assert_eq!(took(1.25), "1.2 s");
        assert_eq!(took(3_660.9), "1 h 1 min");
    }
}
