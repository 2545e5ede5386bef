//! What could not be stored, with the reason and the raw JSON: nothing is lost.

use super::Warehouse;
use super::error::Error;
use crate::allai::Resource;

impl Warehouse {
    /// How many rows of a resource are in quarantine.
    pub async fn quarantined(&self, account: &str, resource: Resource) -> Result<u64, Error> {
        let _ = (account, resource);
        todo!()
    }
}
