//! Contacts: one list; the API cannot be asked for one of them.

use super::deletion::{self, Candidates};
use super::listed::ListRun;
use super::reader::Reader;
use super::sweep::{Mode, Proof, Sweep};
use super::{Error, Finding, Run};
use crate::allai::Resource;
use crate::warehouse::UnseenRow;

pub(super) async fn run(run: &Run<'_>) -> Result<Finding, Error> {
    let list = ListRun::start(run, Resource::Contacts).await?;
    if !list.is_full() {
        let reading = list.read_growing_end().await?;
        return list.conclude(&reading, None).await;
    }
    let reading = list.read_fully().await?;
    let sweep = &reading.sweep;
    let held_back = match list.candidates(sweep).await? {
        Candidates::HeldBack(why) => Some(why),
        Candidates::Allowed(rows) => {
            let (mut gone, unsure) = deletion::split_confirmed(rows);
            gone.extend(confirm_by_second_sweep(&list, sweep, unsure).await?);
            deletion::tombstone(run, Resource::Contacts, &deletion::row_nums(&gone)).await?;
            None
        }
    };
    list.conclude(&reading, held_back).await
}

/// Sweeps once more for the rows that one verified sweep missed; those that this one misses too are gone.
async fn confirm_by_second_sweep(
    list: &ListRun<'_>,
    first: &Sweep,
    unsure: Vec<UnseenRow>,
) -> Result<Vec<UnseenRow>, Error> {
    if unsure.is_empty() {
        return Ok(unsure);
    }
    let mut second = list.sweep(Mode::Full).await?;
    let reader = Reader {
        counted: Some(first),
        ..list.reader()
    };
    reader.read(&mut second).await?;
    let missing: Vec<UnseenRow> = unsure
        .into_iter()
        .filter(|row| !second.seen().contains(row.row_num))
        .collect();
    if second.proof() == Proof::Verified {
        return Ok(missing);
    }
    let warehouse = list.run.job.warehouse;
    warehouse
        .mark_missing(list.run.account(), Resource::Contacts, &deletion::row_nums(&missing))
        .await?;
    Ok(Vec::new())
}
