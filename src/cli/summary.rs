//! The table at the end of a sync.

use allai_sync::figures::grouped;
use allai_sync::warehouse::{RunRecord, RunStatus};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::Outcome;

/// What the runs did, a line each.
pub(crate) fn table(runs: &[RunRecord]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "account",
        "resource",
        "status",
        "rows",
        "new",
        "changed",
        "unchanged",
        "deleted",
        "restored",
        "quarantined",
        "requests",
        "seconds",
    ]);
    for run in runs {
        let status = match (run.status, run.verified) {
            (RunStatus::Complete, true) => "verified",
            (status, _) => status.as_str(),
        };
        table.add_row([
            run.account.clone(),
            run.resource.to_string(),
            status.to_owned(),
            grouped(run.rows_seen),
            grouped(run.inserted),
            grouped(run.updated),
            grouped(run.unchanged),
            grouped(run.deleted),
            grouped(run.restored),
            grouped(run.quarantined),
            grouped(run.requests),
            format!("{:.1}", run.seconds),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let table = table.to_string();
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// Whether all runs did all their work.
pub(crate) fn outcome(runs: &[RunRecord]) -> Outcome {
    if runs.iter().all(|run| run.status == RunStatus::Complete) {
        Outcome::Done
    } else {
        Outcome::Incomplete
    }
}
