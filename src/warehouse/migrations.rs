//! The embedded migrations: the same file names for both databases. An applied migration never changes.

use sqlx::migrate::Migrator;

pub(super) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// The newest version a migrator knows.
pub(super) fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Compares the versions a database has with those this program knows.
pub(super) fn compare(migrator: &Migrator, applied: &[i64]) -> Result<bool, super::Error> {
    let known = newest(migrator);
    if let Some(&found) = applied.iter().find(|&&version| version > known) {
        return Err(super::Error::NewerSchema { found, known });
    }
    Ok(migrator.iter().all(|migration| applied.contains(&migration.version)))
}
