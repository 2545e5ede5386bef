//! Reading the warehouse and leaving it as it is, even if it is not there.

use std::path::Path;
use std::sync::Arc;

use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{Location, Warehouse};
use anyhow::bail;

/// A sync that begins while its file is read is found open the second time; only several that come and go are not.
const READ_AT_MOST: u32 = 5;

/// What `read` reads; `None` if there is no warehouse yet, or nothing in it. Where `current` tables are needed, those of
/// another version are an error.
pub(super) async fn read<T>(
    location: &Location,
    current: bool,
    read: impl AsyncFn(&Warehouse) -> Result<T, allai_sync::warehouse::Error>,
) -> anyhow::Result<Option<T>> {
    let clock = SystemClock::shared();
    for _ in 0..READ_AT_MOST {
        let Some(warehouse) = Warehouse::open_to_read(location, Arc::clone(&clock)).await? else {
            let file = location.file().unwrap_or(Path::new(""));
            tracing::warn!("{} does not exist yet; the first sync creates it", file.display());
            return Ok(None);
        };
        let found = async {
            if !warehouse.has_tables().await? {
                return Ok(None);
            }
            if current && !warehouse.schema_is_current().await? {
                return Err(allai_sync::warehouse::Error::NotMigrated);
            }
            read(&warehouse).await.map(Some)
        };
        let found = found.await;
        let reliable = warehouse.is_as_opened();
        warehouse.close().await;
        if reliable {
            return Ok(found?);
        }
    }
    bail!("the warehouse changed each time it was read: try again when the sync is through")
}
