//! What people are shown of steps: without addresses and numbers of persons.

use crate::warehouse::StepRow;

/// Masks persons in what steps were to do and what came of it.
pub fn mask_persons(steps: &mut [StepRow]) {
    for step in steps {
        for text in [&mut step.input, &mut step.output].into_iter().flatten() {
            *text = masked(text);
        }
    }
}

/// A text in which e-mail addresses and telephone numbers are masked: `a…@…`, `+4…`.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_alphanumeric() || "@.+-_%".contains(c);
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            // Between words; spaces within a telephone number belong to it.
            let next = rest.find(is_word).unwrap_or(rest.len());
            out.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        let (word, behind) = rest.split_at(end);
        let phone = telephone(rest);
        if word.contains('@') {
            out.extend(word.chars().next());
            out.push_str("…@…");
            rest = behind;
        } else if let Some(length) = phone {
            out.extend(rest.chars().take(2));
            out.push('…');
            rest = &rest[length..];
        } else {
            out.push_str(word);
            rest = behind;
        }
    }
    out
}

/// How long the telephone number is that a text begins with, if it does: nine digits or more, the first of them 0 or behind a +.
fn telephone(text: &str) -> Option<usize> {
    if !text.starts_with(['+', '0']) {
        return None;
    }
    let is_part = |c: char| c.is_ascii_digit() || "+ -./()".contains(c);
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let number = text[..end].trim_end_matches([' ', '.', '-', '(', '/']);
    let digits = number.chars().filter(char::is_ascii_digit).count();
    (9..=15).contains(&digits).then_some(number.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_are_not_recognised() {
        for (text, expected) in [
            (r#"{"email":"ana.pop@exemplu.ro","n":3}"#, r#"{"email":"a…@…","n":3}"#),
            (
                "Sunați la 0722 123 456 sau +40 (21) 312-34-56.",
                "Sunați la 07… sau +4….",
            ),
            (
                "PH-1000, 0.05 și 2026-01-19T09:00:00Z",
                "PH-1000, 0.05 și 2026-01-19T09:00:00Z",
            ),
            ("șir fără nimic", "șir fără nimic"),
            ("", ""),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
