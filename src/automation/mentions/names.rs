//! Words of a name.

use super::CODE_LETTERS;
use super::lexicon::{Class, INCHES, stem};
use super::tokens::{Gap, tokens};

/// A word of a product's name.
pub(super) struct NameWord {
    /// What it is found by: a stem, or digits.
    pub(super) key: String,
    /// All its letters, if it has no digits.
    pub(super) spelling: Option<String>,
}

/// The words of a name that say something of the product.
pub(super) fn name_words(name: &str) -> Vec<NameWord> {
    let tokens = tokens(name);
    let mut words = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let first = &tokens[at];
        let mut key = first.word.clone();
        let mut end = at + 1;
        while let Some(next) = tokens.get(end) {
            let before = &tokens[end - 1];
            let is_code = [before, next]
                .iter()
                .all(|token| token.is_number || token.word.len() <= CODE_LETTERS);
            let is_unit = next.class == Some(Class::Unit);
            let is_measure =
                before.is_number && next.gap <= Gap::Space && (next.class == Some(Class::Measure) || is_unit);
            match (before.is_number, next.is_number) {
                (true, false) if is_measure && INCHES.contains(&next.word.as_str()) => {}
                (true, false) if is_measure => key.push_str(if is_unit { "buc" } else { &next.word }),
                (true, true) if next.gap == Gap::Joined && !next.is_dashed => {
                    key.push('.');
                    key.push_str(&next.word);
                }
                (true, false) | (false, true) if next.gap <= Gap::Joined && is_code => key.push_str(&next.word),
                _ => break,
            }
            end += 1;
        }
        let is_word = end == at + 1 && !first.is_number;
        let says_something = match first.class {
            None | Some(Class::Times | Class::Measure | Class::Number(_)) => !first.is_ending,
            Some(_) => !is_word,
        };
        if says_something {
            let spelling = is_word.then(|| key.clone());
            let key = if is_word { stem(&key) } else { key };
            words.push(NameWord { key, spelling });
        }
        at = end;
    }
    words
}
