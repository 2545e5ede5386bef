//! What a check verifies.

use std::sync::Arc;

use super::Files;
use super::folder::Folder;
use crate::error::Error;
use crate::records::Check;

fn remedy(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "correct folder, or create it",
        Error::Forbidden { .. } => "let the user that this program runs as read the folder",
        Error::Transient { .. } => "see that the export runs and that files and settle are right",
        _ => "correct encoding, delimiter, decimal_comma and columns, or export it again",
    }
}

impl Files {
    /// One entry for each kind of files: which one is in use, and why not a newer one.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for folder in [Some(&self.stock), self.prices.as_ref()].into_iter().flatten() {
            let looking = Arc::clone(folder);
            let looked = tokio::task::spawn_blocking(move || check(&looking)).await;
            checks.push(looked.unwrap_or_else(|error| {
                Check::bad(folder.key(), error.to_string(), "look into the log, and check again")
            }));
        }
        checks
    }
}

fn check(folder: &Folder) -> Check {
    let what = folder.key();
    match folder.look() {
        Ok((catalogue, seen)) => {
            let used = format!(
                "{} of {}",
                seen.used.name,
                seen.used.written_at().format("%Y-%m-%d %H:%M:%S UTC")
            );
            match seen.bad {
                None => Check::good(what, format!("{used}, {} products", catalogue.len())),
                Some(bad) => Check::bad(
                    what,
                    format!(
                        "{} cannot be used: {}; figures are those of {used}",
                        bad.name(),
                        bad.problem
                    ),
                    "correct encoding, delimiter, decimal_comma and columns, or export it again",
                ),
            }
        }
        Err(error) => Check::bad(what, error.to_string(), remedy(&error)),
    }
}
