//! Statements of SQLite that deal with many rows at once.
//!
//! A statement a row costs three times as much, and `json_each` as well. The text of a statement depends on the number
//! of rows, and every text is prepared once and kept; so there are a few sizes, and a page is put together from them.
//!
//! The rows' parameters have no names: SQLite looks for a parameter's name from the start of a list, so that binding
//! 1,400 named ones takes longer than inserting the rows. What all rows share is bound after them, as `$N`.

use std::sync::OnceLock;

use super::statement::Statement;

/// For how many rows there is a statement. One to four full pages need one, with or without the rows that each shares with
/// the one before.
const SIZES: [usize; 14] = [1, 2, 5, 10, 20, 50, 95, 100, 190, 200, 285, 300, 380, 400];

/// The most rows one statement deals with.
pub(super) const MOST: usize = SIZES[SIZES.len() - 1];

/// Bytes of a fingerprint of a row's text.
pub(super) const RAW_HASH: usize = 16;

/// A statement in all its sizes.
#[derive(Debug)]
pub(super) struct Repeated {
    /// The text for a number of rows.
    text: fn(usize) -> String,
    texts: [OnceLock<&'static str>; SIZES.len()],
}

impl Repeated {
    pub(super) const fn new(text: fn(usize) -> String) -> Self {
        Self {
            text,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// The largest statement for no more than `rows`, and for how many it is. There must be one row at least.
    pub(super) fn at_most(&self, rows: usize) -> (usize, &'static str) {
        let fit = SIZES.iter().rposition(|&size| size <= rows).unwrap_or(0);
        (SIZES[fit], self.sized(fit))
    }

    /// The smallest statement for at least `rows`, of which there must be no more than [`MOST`], and for how many it
    /// is. The rows that are too many are to be bound as NULL.
    pub(super) fn at_least(&self, rows: usize) -> (usize, &'static str) {
        let fit = SIZES.iter().position(|&size| size >= rows).unwrap_or(SIZES.len() - 1);
        (SIZES[fit], self.sized(fit))
    }

    /// The statement in all its sizes.
    pub(super) fn all(&self) -> impl Iterator<Item = Statement> {
        (0..SIZES.len()).map(|at| Statement::sqlite_only(self.sized(at)))
    }

    fn sized(&self, at: usize) -> &'static str {
        // Built once in the life of the program.
        self.texts[at].get_or_init(|| (self.text)(SIZES[at]).leak())
    }
}

/// The values of rows that are there, each with its fingerprint, the time it changed (twice) and its number after its
/// columns; the account comes first and is bound last: `($11, ?, ?, ?, ?, ?), ($11, ?, ?, ?, ?, ?)`.
pub(super) fn rows_with_numbers(rows: usize, columns: usize) -> String {
    let bound = columns + 4;
    let row = format!("(${}, {})", rows * bound + 1, vec!["?"; bound].join(", "));
    vec![row.as_str(); rows].join(", ")
}

/// The values of rows that are new. Bound after their columns are the account, the fingerprints in one value, the time,
/// and the number that theirs follow: `($3, ?, substr($4, 1, 16), $5, $5, $6 + 1), ($3, ?, substr($4, 17, 16), …)`.
/// Each value bound is copied twice on its way.
pub(super) fn new_rows(rows: usize, columns: usize) -> String {
    let account = rows * columns + 1;
    let (hashes, now, number) = (account + 1, account + 2, account + 3);
    let marks = vec!["?"; columns].join(", ");
    let row = |row: usize| {
        let hash = format!("substr(${hashes}, {}, {RAW_HASH})", row * RAW_HASH + 1);
        format!("(${account}, {marks}, {hash}, ${now}, ${now}, ${number} + {})", row + 1)
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The parameters of `rows` rows of so many columns: `(?, ?), (?, ?)`.
pub(super) fn parameters(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row.as_str(); rows].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    static STATEMENT: Repeated = Repeated::new(|rows| parameters(rows, 2));

    #[test]
    fn any_number_of_rows_is_put_together_from_few_statements() {
        for rows in 1..=1_000 {
            let (mut left, mut statements) = (rows, 0);
            while left > 0 {
                let (size, text) = STATEMENT.at_most(left);
                assert_eq!(text.matches('?').count(), 2 * size);
                left -= size;
                statements += 1;
            }
            assert!(statements <= rows / MOST + 7, "{rows}");
        }
    }

    #[test]
    fn a_padded_statement_has_room_for_all_rows() {
        for rows in 1..=MOST {
            let (size, text) = STATEMENT.at_least(rows);
            assert!(size >= rows && text.matches('?').count() == 2 * size, "{rows}");
        }
    }

    #[test]
    fn a_text_is_built_once() {
        assert!(std::ptr::eq(STATEMENT.at_most(7).1, STATEMENT.at_least(5).1));
    }
}
