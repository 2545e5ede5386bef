//! An API that answers what no API should: the good rows arrive, the bad ones are in quarantine, or the run fails and
//! says why. Nothing hangs, panics or ends as if all were well.

mod answers;
mod lists;
mod rows;
