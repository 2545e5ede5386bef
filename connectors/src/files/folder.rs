//! The files of one kind in a folder, and which of them counts.
//!
//! Invariant: once a good file was read, there is an answer, as long as this program runs. A bad file is read once and not
//! again, until it changes.

use std::cmp::Reverse;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use super::SYSTEM;
use super::config::{FilesConfig, TableConfig};
use super::table;
use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::time::now;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

pub(super) struct Folder {
    key: &'static str,
    path: PathBuf,
    settle: Duration,
    table: TableConfig,
    state: Mutex<State>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    good: Option<Good>,
    bad: Vec<Bad>,
}

struct Good {
    file: File,
    catalogue: Arc<Catalogue>,
}

/// A file that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    file: File,
    pub(super) problem: String,
}

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    length: u64,
    written: SystemTime,
}

impl File {
    pub(super) fn written_at(&self) -> DateTime<Utc> {
        self.written.into()
    }
}

impl Bad {
    pub(super) fn name(&self) -> &str {
        &self.file.name
    }
}

/// What a folder holds.
pub(super) struct Seen {
    /// The file whose figures are told.
    pub(super) used: File,
    /// Why the newest complete one is not it.
    pub(super) bad: Option<Bad>,
}

impl Folder {
    pub(super) fn new(key: &'static str, config: &FilesConfig, table: TableConfig) -> Self {
        Self {
            key,
            path: config.folder.clone(),
            settle: config.settle,
            table,
            state: Mutex::default(),
        }
    }

    pub(super) fn table(&self) -> &TableConfig {
        &self.table
    }

    pub(super) const fn key(&self) -> &'static str {
        self.key
    }

    /// What the newest good file says. Blocks on the disk.
    pub(super) fn current(&self) -> Result<Arc<Catalogue>, Error> {
        self.look().map(|(catalogue, _)| catalogue)
    }

    /// The same, and what the folder holds.
    pub(super) fn look(&self) -> Result<(Arc<Catalogue>, Seen), Error> {
        // One reads a new file, the others wait for that.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.complete();
        if let Ok(files) = &files {
            state.bad.retain(|bad| files.contains(&bad.file));
            self.read_newest(&mut state, files);
        }
        let Some(good) = &state.good else {
            let files = files?;
            return Err(match state.bad.first() {
                Some(bad) => Error::Unreadable {
                    system: SYSTEM,
                    expected: "an export",
                    problem: format!("{}: {}", bad.file.name, bad.problem),
                },
                None => Error::Transient {
                    system: SYSTEM,
                    message: format!(
                        "has no complete file {} in {} ({} are there)",
                        self.table.files,
                        self.path.display(),
                        files.len()
                    ),
                    may_have_happened: false,
                },
            });
        };
        let bad = match files {
            Ok(files) => {
                let newest = files
                    .first()
                    .and_then(|newest| state.bad.iter().find(|bad| bad.file == *newest));
                newest.cloned()
            }
            Err(error) => Some(Bad {
                file: good.file.clone(),
                problem: error.to_string(),
            }),
        };
        Ok((
            Arc::clone(&good.catalogue),
            Seen {
                used: good.file.clone(),
                bad,
            },
        ))
    }

    /// Reads the files that are newer than what is known, the newest first, until one is good.
    fn read_newest(&self, state: &mut State, files: &[File]) {
        for file in files {
            if state.good.as_ref().is_some_and(|good| good.file == *file) {
                return;
            }
            // Older than what is known, which may have been removed since.
            if state.good.as_ref().is_some_and(|good| good.file.written > file.written) {
                return;
            }
            if state.bad.iter().any(|bad| bad.file == *file) {
                continue;
            }
            match self.read(file) {
                Ok(Some(catalogue)) => {
                    tracing::info!(files.name = file.name, "read an export");
                    state.good = Some(Good {
                        file: file.clone(),
                        catalogue: Arc::new(catalogue),
                    });
                    return;
                }
                Ok(None) => {}
                Err(problem) => {
                    tracing::warn!(
                        files.name = file.name,
                        problem,
                        "an export is bad; the one before it stays in use"
                    );
                    state.bad.push(Bad {
                        file: file.clone(),
                        problem,
                    });
                }
            }
        }
    }

    /// What a file says; `None` if it changed meanwhile.
    fn read(&self, file: &File) -> Result<Option<Catalogue>, String> {
        if file.length > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        let path = self.path.join(&file.name);
        let bytes = fs::read(&path).map_err(|error| error.to_string())?;
        let after = fs::metadata(&path).map_err(|error| error.to_string())?;
        let is_same = after.len() == file.length && after.modified().ok() == Some(file.written);
        if !is_same || bytes.len() as u64 != file.length {
            return Ok(None);
        }
        table::read(&self.table, &file.name, &bytes, file.written_at()).map(Some)
    }

    /// The files that fit and are complete, the newest first.
    fn complete(&self) -> Result<Vec<File>, Error> {
        let failed = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound {
                system: SYSTEM,
                what: format!("folder {}", self.path.display()),
            },
            std::io::ErrorKind::PermissionDenied => Error::Forbidden {
                system: SYSTEM,
                doing: format!("read {}", self.path.display()),
                message: error.to_string(),
            },
            _ => Error::Transient {
                system: SYSTEM,
                message: format!("cannot read {}: {error}", self.path.display()),
                may_have_happened: false,
            },
        };
        let now: SystemTime = now().into();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !self.table.fits(&name) {
                continue;
            }
            // One that is gone by now, or a link to nothing, does not count.
            let Ok(data) = fs::metadata(entry.path()) else {
                continue;
            };
            let Ok(written) = data.modified() else { continue };
            // A time to come is another machine's clock; how long ago it was written is not known, then.
            let is_left_alone = now.duration_since(written).is_ok_and(|age| age >= self.settle)
                || written.duration_since(now).is_ok_and(|ahead| ahead > self.settle);
            if data.is_file() && is_left_alone {
                files.push(File {
                    name,
                    length: data.len(),
                    written,
                });
            }
        }
        files.sort_by_key(|file| Reverse((file.written, file.name.clone())));
        Ok(files)
    }
}
