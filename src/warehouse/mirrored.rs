//! What the mirrored tables have in common: row numbers, presence and tombstones.

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::Warehouse;
use super::error::Error;
use crate::allai::Resource;

/// A live row that a sweep did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenRow {
    /// The API's id.
    pub id: String,
    /// The row's internal number.
    pub row_num: u64,
    /// Since when it has been missing, if an earlier sweep marked it.
    pub missing_since: Option<DateTime<Utc>>,
}

/// The live rows of a resource, against what a sweep saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Live rows looked at, seen or not.
    pub live: u64,
    /// Those that were not seen, by row number.
    pub rows: Vec<UnseenRow>,
}

impl Warehouse {
    /// The highest row number in use; 0 if the table holds no row of the account.
    pub async fn highest_row_num(&self, account: &str, resource: Resource) -> Result<u64, Error> {
        let _ = (account, resource);
        todo!()
    }

    /// How many rows are not tombstoned.
    pub async fn live_rows(&self, account: &str, resource: Resource) -> Result<u64, Error> {
        let _ = (account, resource);
        todo!()
    }

    /// The live rows up to and including a row number that are not in `seen`.
    pub async fn unseen(
        &self,
        account: &str,
        resource: Resource,
        seen: &RoaringTreemap,
        up_to_row_num: u64,
    ) -> Result<Unseen, Error> {
        let _ = (account, resource, seen, up_to_row_num);
        todo!()
    }

    /// Notes since when rows are missing; those already noted keep their time.
    pub async fn mark_missing(&self, account: &str, resource: Resource, row_nums: &[u64]) -> Result<(), Error> {
        let _ = (account, resource, row_nums);
        todo!()
    }

    /// Marks live rows as deleted; returns how many were. The live messages of a conversation go with it.
    pub async fn tombstone(&self, account: &str, resource: Resource, row_nums: &[u64]) -> Result<u64, Error> {
        let _ = (account, resource, row_nums);
        todo!()
    }
}
