//! What CRMs have in common about keys: which are none, and when two telephone numbers are one.

use crate::records::Key;

/// The longest key, in bytes.
pub(crate) const LONGEST: usize = 255;

/// The digits of a telephone number in international form: `+40…` or `0040…`.
pub(crate) fn international(number: &str) -> Option<String> {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    match number.trim_start().chars().next()? {
        '+' => Some(digits),
        _ => digits.strip_prefix("00").map(str::to_owned),
    }
}

/// Whether both are one telephone number in international form, whatever stands between the digits.
pub(crate) fn is_same_number(one: &str, other: &str) -> bool {
    international(one).is_some_and(|digits| international(other) == Some(digits))
}

/// What is wrong with a key under which nothing could be found again: its field, and why. `Key::Id` is the system's matter.
pub(crate) fn problem(key: &Key) -> Option<(&'static str, &'static str)> {
    let (field, value) = match key {
        Key::Id(_) => return None,
        Key::Email(email) => ("email", email),
        Key::Phone(phone) => ("phone", phone),
        Key::Reference(reference) => ("reference", reference),
    };
    let length = value.trim().len();
    if length == 0 || length > LONGEST || value.contains('\0') {
        return Some((field, "the key is empty, too long, or holds NUL characters"));
    }
    match key {
        Key::Email(_) if !value.contains('@') || value.contains(char::is_whitespace) => {
            Some((field, "the key is no e-mail address"))
        }
        Key::Phone(_) if international(value).is_none_or(|digits| digits.len() < 7) => {
            Some((field, "the key is no telephone number in international form"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_whatever_stands_between_the_digits() {
        for number in [
            "+40722123456",
            "+40 722 123 456",
            "0040-722-123456",
            "+40 (722) 123.456",
        ] {
            assert_eq!(international(number).as_deref(), Some("40722123456"), "{number}");
        }
        assert_eq!(international("0722123456"), None);
        assert_eq!(international(""), None);
        assert!(!is_same_number("0722", "0722"), "which country's?");
    }

    #[test]
    fn keys_that_could_not_be_found_again_are_none() {
        for key in [
            Key::Email("ana".to_owned()),
            Key::Email("a b@x.ro".to_owned()),
            Key::Email("a\0@x.ro".to_owned()),
            Key::Phone("0722".to_owned()),
            Key::Reference(" ".to_owned()),
            Key::Reference("x".repeat(256)),
        ] {
            assert!(problem(&key).is_some(), "{key:?}");
        }
        assert_eq!(problem(&Key::Email("ana@x.ro".to_owned())), None);
        assert_eq!(problem(&Key::Phone("+40722123456".to_owned())), None);
    }
}
