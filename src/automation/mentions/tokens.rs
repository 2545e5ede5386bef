//! Words of a text.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::lexicon::{CLASSES, Class, ENDINGS_AFTER_DASH};

/// A run of letters or of digits.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) at: Range<usize>,
    /// It in small letters, without diacritics.
    pub(super) word: String,
    pub(super) is_number: bool,
    /// What is between it and the one before.
    pub(super) gap: Gap,
    /// Whether that is a dash.
    pub(super) is_dashed: bool,
    /// Whether it is the ending of the word before: "laptop-ul", "don't".
    pub(super) is_ending: bool,
    pub(super) class: Option<Class>,
}

/// What is between two tokens: the more, the less they belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    /// Nothing: "PH1000"
    Glued,
    /// A dash, a dot, a slash: "PH-1000"
    Joined,
    /// "PH 1000"
    Space,
    /// A comma, a bracket: another thing may follow.
    Soft,
    /// The end of a sentence or of a line.
    Hard,
}

impl Token {
    /// Whether it is a word that is no part of a code, unless it is glued to it.
    pub(super) fn is_prose(&self) -> bool {
        let is_word = self.class.is_some_and(|class| class != Class::Measure);
        is_word && (self.word.len() > 1 || self.class == Some(Class::Times))
    }

    /// The number that it is the word for.
    pub(super) fn count(&self) -> Option<u8> {
        match self.class {
            Some(Class::Number(count)) => Some(count),
            _ => None,
        }
    }
}

pub(super) const DASHES: [char; 8] = [
    '\u{ff0d}', '-', '_', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2212}',
];
pub(super) const APOSTROPHES: [char; 2] = ['\'', '\u{2019}'];

/// The tokens of a text, in time that is proportional to its length.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    // Whether the last one may go on.
    let mut is_open = false;
    for (start, char) in text.char_indices() {
        let end = start + char.len_utf8();
        if is_invisible(char) {
            if let Some(last) = tokens
                .last_mut()
                .filter(|last| last.at.end == start && is_combining_mark(char))
            {
                last.at.end = end;
            }
            continue;
        }
        let is_times = char == '×';
        if !char.is_alphanumeric() && !is_times {
            is_open = false;
            continue;
        }
        let visible = |char: &char| char.is_alphanumeric() && !is_combining_mark(*char);
        let folded: String = match char {
            '×' => "x".to_owned(),
            _ if char.is_ascii() => char.to_ascii_lowercase().to_string(),
            _ => char.to_lowercase().nfkd().filter(visible).collect(),
        };
        let is_number = folded.chars().all(|char| char.is_ascii_digit());
        match tokens.last_mut() {
            Some(last) if is_open && !is_times && last.is_number == is_number => {
                last.word.push_str(&folded);
                last.at.end = end;
            }
            last => {
                let between = last.as_ref().map(|last| &text[last.at.end..start]);
                let is_beside_times = is_times || last.as_ref().is_some_and(|last| text[last.at.clone()] == *"×");
                let joins_numbers = is_number && last.is_some_and(|last| last.is_number);
                let gap = between.map_or(Gap::Hard, |between| gap(between, joins_numbers));
                let gap = if is_beside_times { gap.max(Gap::Space) } else { gap };
                let is_between =
                    |these: &[char]| gap == Gap::Joined && between.is_some_and(|text| text.contains(these));
                tokens.push(Token {
                    at: start..end,
                    word: folded,
                    is_number,
                    gap,
                    is_dashed: is_between(&DASHES),
                    is_ending: is_between(&APOSTROPHES),
                    class: None,
                });
            }
        }
        is_open = !is_times;
    }
    for token in &mut tokens {
        token.class = CLASSES.get(token.word.as_str()).copied();
        let is_ending = token.is_dashed && ENDINGS_AFTER_DASH.contains(&token.word.as_str());
        token.is_ending = token.is_ending && token.word.len() <= 2 || is_ending;
    }
    tokens
}

/// Whether a character changes nothing of the word that it is in.
pub(super) fn is_invisible(char: char) -> bool {
    let is_format =
        matches!(char, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}');
    is_format || char == '\u{FEFF}' || !char.is_ascii() && is_combining_mark(char)
}

/// What kind of gap a text is.
pub(super) fn gap(between: &str, joins_numbers: bool) -> Gap {
    let mut visible = between.chars().filter(|char| !is_invisible(*char));
    let (first, second) = (visible.next(), visible.next());
    match (first, second) {
        (None, _) => return Gap::Glued,
        (Some('.' | '/'), None) => return Gap::Joined,
        (Some(','), None) if joins_numbers => return Gap::Joined,
        (Some(char), None) if DASHES.contains(&char) || APOSTROPHES.contains(&char) => return Gap::Joined,
        _ => {}
    }
    if between.contains(['.', '!', '?', ';', '…', '\n', '\r']) {
        Gap::Hard
    } else if between.chars().all(|char| char.is_whitespace() || is_invisible(char)) {
        Gap::Space
    } else {
        Gap::Soft
    }
}

/// A SKU without what is between its groups, except between two of digits.
pub(super) fn sku_key(tokens: &[Token]) -> String {
    let mut key = String::new();
    for (at, token) in tokens.iter().enumerate() {
        if at > 0 && token.is_number && tokens[at - 1].is_number {
            key.push('-');
        }
        key.push_str(&token.word);
    }
    key
}

/// Whether a token that is joined to a code is a word of its own: "PH-1000.Aveți", "PH-1000/negru".
pub(super) fn is_apart(tokens: &[Token], at: usize) -> bool {
    let is_joined = |token: &Token| token.gap == Gap::Glued || token.gap == Gap::Joined && token.is_dashed;
    let token = &tokens[at];
    !token.is_number
        && token.word.len() > 2
        && !is_joined(token)
        && tokens.get(at + 1).is_none_or(|next| !is_joined(next))
}

/// Whether tokens that are the SKU of a product are not likely to be something else.
pub(super) fn is_unlike_prose(text: &str, tokens: &[Token], at: Range<usize>) -> bool {
    let said = &tokens[at.clone()];
    let after = tokens.get(at.end);
    if said.iter().all(|token| token.is_number) {
        let digits: usize = said.iter().map(|token| token.word.len()).sum();
        let is_beside = |token: &Token, gap: Gap| token.is_number && gap <= Gap::Space;
        let is_counting = |class| matches!(class, Class::Unit | Class::Times | Class::Money | Class::Measure);
        let is_first = at.start == 0 || !is_beside(&tokens[at.start - 1], said[0].gap);
        let is_last = after.is_none_or(|after| !is_beside(after, after.gap));
        let is_amount = after.is_some_and(|after| after.gap <= Gap::Space && after.class.is_some_and(is_counting));
        let is_money = text[said[said.len() - 1].at.end..]
            .trim_start()
            .starts_with(['%', '€', '$', '£']);
        return digits > 3 && is_first && is_last && !is_amount && !is_money;
    }
    if said.iter().any(|token| token.is_number) {
        return true;
    }
    let is_one = said[1..].iter().all(|token| token.gap < Gap::Space);
    is_one
        && said.iter().all(|token| token.class.is_none())
        && said.iter().map(|token| token.word.len()).sum::<usize>() > 1
}
