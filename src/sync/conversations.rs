//! Conversations: one list, a filter by status, and the API can be asked for each of them.

use super::deletion::{self, Candidates};
use super::listed::ListRun;
use super::reader::{Fetched, Reader};
use super::sweep::{Mode, Sweep};
use super::{Error, Finding, Run};
use crate::allai::Resource;

/// The status of a conversation that goes on.
const ACTIVE: &str = "active";

pub(super) async fn run(run: &Run<'_>) -> Result<Finding, Error> {
    let list = ListRun::start(run, Resource::Conversations).await?;
    if !list.is_full() {
        let reading = list.read_growing_end().await?;
        refresh_active(&list, &reading.sweep).await?;
        return list.conclude(&reading, None).await;
    }
    let reading = list.read_fully().await?;
    let held_back = match list.candidates(&reading.sweep).await? {
        Candidates::HeldBack(why) => Some(why),
        Candidates::Allowed(rows) => {
            let mut gone = Vec::new();
            for row in rows {
                // One that is found exists, though the list does not show it.
                if list.reader().fetch_conversation(&row.id).await? == Fetched::Gone {
                    gone.push(row);
                }
            }
            deletion::tombstone(run, Resource::Conversations, &deletion::row_nums(&gone)).await?;
            None
        }
    };
    list.conclude(&reading, held_back).await
}

/// Reads the active conversations, and asks for those that were active and are not among them any more.
async fn refresh_active(list: &ListRun<'_>, growing_end: &Sweep) -> Result<(), Error> {
    let mut active = list.sweep(Mode::Head { watermark: 0 }).await?;
    let reader = Reader {
        status: Some(ACTIVE),
        counted: Some(growing_end),
        ..list.reader()
    };
    reader.read(&mut active).await?;

    let seen = growing_end.seen() | active.seen();
    let left = list.run.job.warehouse.active_unseen(list.run.account(), &seen).await?;
    for (_, id) in left {
        // One that is gone is left to the next verified sweep.
        list.reader().fetch_conversation(&id).await?;
    }
    Ok(())
}
