//! How many of a product are spoken of.

use rust_decimal::Decimal;

use super::Catalogue;
use super::reader::{Found, Kind, Term};
use super::tokens::{DASHES, Gap, Token};

/// Finds the quantities that are said with what is found, from the beginning of the text to its end.
pub(super) struct Quantities<'c, 't> {
    pub(super) catalogue: &'c Catalogue,
    pub(super) terms: &'t [Term<'c>],
    /// The terms before this one are part of what is found, or of its quantities.
    pub(super) taken: usize,
}

impl Quantities<'_, '_> {
    pub(super) fn of(&mut self, found: &Found, next: Option<usize>) -> Option<Decimal> {
        let before = self.before(found);
        self.taken = found.last + 1;
        before.or_else(|| self.after(found.last + 1, next))
    }

    /// "3 bucăți de", "2 x", "trei"
    pub(super) fn before(&self, found: &Found) -> Option<Decimal> {
        let mut at = found.first;
        let mut has_unit = false;
        while at > self.taken && self.terms[at].gap <= Gap::Space {
            at -= 1;
            match &self.terms[at].kind {
                Kind::Unit | Kind::Times => has_unit = true,
                Kind::Of => {}
                Kind::Number { value, word, is_new } => {
                    let begins_name = |product: &u32| self.catalogue.names.get(*product).first().copied() == *word;
                    let is_name = word.is_some() && found.products.iter().any(begins_name);
                    return value.filter(|_| !is_name && (has_unit || !is_new));
                }
                _ => return None,
            }
        }
        None
    }

    /// "x 4", "3 bucăți", "cantitate: 2"
    pub(super) fn after(&mut self, from: usize, next: Option<usize>) -> Option<Decimal> {
        let is_skipped =
            |term: &&Term<'_>| term.gap < Gap::Hard && matches!(term.kind, Kind::Filler | Kind::Of | Kind::For);
        let at = from
            + self.terms[from.min(self.terms.len())..]
                .iter()
                .take(2)
                .take_while(is_skipped)
                .count();
        let [first, second] = self.terms.get(at..at + 2)? else {
            return None;
        };
        if first.gap == Gap::Hard || second.gap == Gap::Hard {
            return None;
        }
        let then = self.terms.get(at + 2).filter(|then| then.gap <= Gap::Space);
        let is_of_next = then.is_some_and(|then| next == Some(at + 2) || matches!(then.kind, Kind::Of));
        let value = match (&first.kind, &second.kind) {
            (Kind::Unit | Kind::Times, Kind::Number { value, .. }) => *value,
            (Kind::Number { value, .. }, Kind::Unit) if !(is_of_next && first.gap == Gap::Soft) => *value,
            (Kind::Number { value, .. }, Kind::Times) if then.is_none() => *value,
            _ => None,
        };
        if value.is_some() {
            self.taken = at + 2;
        }
        value
    }
}

/// What a number that is said may be the quantity of: more than zero, at most a million. Three digits after a dot or a
/// comma are thousands.
pub(super) fn value(said: &str, run: &[Token]) -> Option<Decimal> {
    let groups: Vec<&str> = run.iter().map(|token| token.word.as_str()).collect();
    let marks: Vec<char> = said
        .chars()
        .filter(|char| ['.', ',', '/'].contains(char) || DASHES.contains(char))
        .collect();
    let (first, rest) = groups.split_first()?;
    let are_thousands = |groups: &[&str]| {
        let is_begun = groups.is_empty() || (1..=3).contains(&first.len()) && !first.starts_with('0');
        is_begun && groups.iter().all(|group| group.len() == 3)
    };
    let are_alike = marks.windows(2).all(|two| two[0] == two[1]);
    let written = if marks.len() != rest.len() || marks.iter().any(|mark| !['.', ','].contains(mark)) {
        return None;
    } else if are_thousands(rest) && are_alike {
        groups.concat()
    } else {
        let (fraction, whole) = rest.split_last()?;
        let is_unlike = marks.len() == 1 || !marks[..marks.len() - 1].contains(&marks[marks.len() - 1]);
        if !are_thousands(whole) || !is_unlike {
            return None;
        }
        format!("{first}{}.{fraction}", whole.concat())
    };
    let value: Decimal = written.parse().ok()?;
    (value > Decimal::ZERO && value <= Decimal::from(1_000_000)).then_some(value)
}

/// Whether a number has no minus sign.
pub(super) fn is_positive(text: &str, start: usize) -> bool {
    let mut before = text[..start].chars().rev();
    let is_minus = matches!(before.next(), Some('-' | '\u{2212}' | '\u{2013}'));
    !is_minus || before.next().is_some_and(|char| !char.is_whitespace())
}
