//! What a row's absence means.
//!
//! Only a verified sweep makes a row that it did not see a candidate, and a candidate is confirmed before it becomes a
//! tombstone: by 404 or 410 where the API can be asked for the row, else by absence from a second verified sweep. An
//! empty list, rows without an id that candidates may be, or more of these than the brake allows: then nothing is tombstoned
//! until a person says so.

use super::sweep::{Nameless, Sweep};
use super::{Error, Run};
use crate::allai::Resource;
use crate::warehouse::UnseenRow;

/// Deletions that need no permission, however small the account is.
const FREE_DELETIONS: u64 = 20;
/// The share of an account's rows, one in this many, whose deletion needs no permission.
const FREE_SHARE: u64 = 20;

/// How many rows of `live` may be tombstoned without `--allow-mass-delete`.
pub(super) const fn brake(live: u64) -> u64 {
    let share = live / FREE_SHARE;
    if share > FREE_DELETIONS { share } else { FREE_DELETIONS }
}

/// Rows that a verified sweep did not see.
pub(super) enum Candidates {
    /// These may be confirmed and tombstoned.
    Allowed(Vec<UnseenRow>),
    /// These are too many, or the list came back empty: what to tell the user.
    HeldBack(String),
}

/// The rows that were there before the sweep began and that it did not see; `undated` rows without an id and a date were in the
/// list already when these were last seen.
pub(super) async fn candidates(
    run: &Run<'_>,
    resource: Resource,
    sweep: &Sweep,
    undated: u64,
) -> Result<Candidates, Error> {
    let unseen = run
        .job
        .warehouse
        .unseen(run.account(), resource, sweep.seen(), sweep.highest_row_num())
        .await?;
    let missing = unseen.rows.len() as u64;
    if run.job.options.allow_mass_delete || missing == 0 {
        return Ok(Candidates::Allowed(unseen.rows));
    }
    let held_back = |why: &str| {
        format!(
            "{missing} of {} {resource} are gone from the API{why}; none was marked as deleted. If that is right, run: \
             allai-sync sync {resource} --account {} --full --allow-mass-delete",
            unseen.live,
            run.account()
        )
    };
    Ok(if sweep.seen().is_empty() {
        Candidates::HeldBack(held_back(
            ", whose list came back empty, or without a row that can be used",
        ))
    } else if resource == Resource::Contacts
        && unseen
            .rows
            .iter()
            .any(|row| may_be_nameless(row, sweep.nameless(), undated))
    {
        Candidates::HeldBack(held_back(
            ", or are among the rows that it lists without an id (see quarantine)",
        ))
    } else if missing > brake(unseen.live) {
        Candidates::HeldBack(held_back(&format!(", more than the {} allowed", brake(unseen.live))))
    } else {
        Candidates::Allowed(unseen.rows)
    })
}

/// Whether a row may be one of those that are listed without an id. Where the API can be asked for it, that tells more.
fn may_be_nameless(row: &UnseenRow, nameless: &Nameless, undated: u64) -> bool {
    let is_of_a_date = match row.created_at {
        Some(at) => nameless.dates.contains(&at),
        None => !nameless.dates.is_empty(),
    };
    is_of_a_date || nameless.undated > undated
}

/// Marks confirmed rows as deleted.
pub(super) async fn tombstone(run: &Run<'_>, resource: Resource, row_nums: &[u64]) -> Result<(), Error> {
    if row_nums.is_empty() {
        return Ok(());
    }
    let deleted = run.job.warehouse.tombstone(run.account(), resource, row_nums).await?;
    run.tally().deleted += deleted;
    Ok(())
}

/// The row numbers of rows.
pub(super) fn row_nums(rows: &[UnseenRow]) -> Vec<u64> {
    rows.iter().map(|row| row.row_num).collect()
}

/// Splits candidates into those that an earlier verified sweep missed too, which confirms them, and the others.
pub(super) fn split_confirmed(rows: Vec<UnseenRow>) -> (Vec<UnseenRow>, Vec<UnseenRow>) {
    rows.into_iter().partition(|row| row.missing_since.is_some())
}

#[cfg(test)]
mod tests {
    use super::brake;

    #[test]
    fn the_brake_allows_twenty_rows_or_five_percent() {
        assert_eq!(brake(0), 20);
        assert_eq!(brake(400), 20);
        assert_eq!(brake(401), 20);
        assert_eq!(brake(10_000), 500);
    }
}
