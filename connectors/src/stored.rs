//! Texts and ids on their way into the filters of systems that keep everything in PostgreSQL.

/// The characters that stand for others in `ilike`, made to stand for themselves.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if matches!(character, '\\' | '%' | '_') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A text without the spaces around it, as Python's `str.strip` takes them off.
pub(crate) fn stripped(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// Whether a text can be in a database at all: PostgreSQL stores no NUL.
pub(crate) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// A record's id as a number, of text that may be anything.
pub(crate) fn record_id(text: &str) -> Option<i64> {
    // As the system prints them; what a database cannot hold is no id.
    let id: i64 = text.parse().ok()?;
    (id > 0 && id <= i64::from(i32::MAX) && id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(escaped(r"50%_a\b"), r"50\%\_a\\b");
        assert_eq!(escaped("pompă"), "pompă");
    }

    #[test]
    fn ids_are_numbers_as_they_are_printed() {
        assert_eq!(record_id("17"), Some(17));
        for other in [
            "0",
            "-1",
            "+1",
            "017",
            " 1",
            "1 OR 1=1",
            "99999999999999999999",
            "",
            "1.0",
        ] {
            assert_eq!(record_id(other), None, "{other}");
        }
    }
}
