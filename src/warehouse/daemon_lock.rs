//! One daemon for a SQLite file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use super::error::Error;
use super::{Location, Site};

/// Held as long as a daemon keeps a SQLite file; the system takes it back when the program ends, however it ends.
///
/// It is a lock on a file beside the database, `NAME-daemon`, which stays: a lock on the database itself would be SQLite's.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock for the program called `holder`. `None` where several daemons may share the warehouse: on Postgres.
    ///
    /// Fails if another daemon has it, and says which.
    pub fn take(location: &Location, holder: &str) -> Result<Option<Self>, Error> {
        let Site::File(path) = location.site()? else {
            return Ok(None);
        };
        let fail = |problem: std::io::Error| Error::File {
            path: path.display().to_string(),
            problem: format!("{problem}; make its folder writable for this user, or choose another"),
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut beside = real.into_os_string();
        beside.push("-daemon");
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(PathBuf::from(beside));
        let mut file = opened.map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                // Its name is for the message alone.
                let _ = file.read_to_string(&mut by);
                return Err(Error::Kept {
                    path: path.display().to_string(),
                    by: by.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let named = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{holder}"));
        named.map_err(fail)?;
        Ok(Some(Self { _file: file }))
    }
}
