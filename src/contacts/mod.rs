//! Contacts of an account and records of a CRM, kept the same.
//!
//! [`ContactSync::run`] first reads what has changed in the CRM and notes which contacts that concerns; then it looks at every contact
//! that is new, has changed in the mirror, or is noted: it finds the contact's record, merges field by field (by what both
//! sides were when they last agreed: that tells who has changed what), and writes what differs to the side that has not got it.
//!
//! - What is about to be done is in `crm_links` before it is done, and what came of it after. A run that follows a crash, or an
//!   answer that was lost, looks first: what was created is found by its key, and is not created again.
//! - Two contacts that are the same by e-mail address or telephone number never make two records, and of several records none is
//!   guessed: that is a conflict, and told.
//! - What was written is not taken for a change by somebody else, and nothing that has not changed is written.
//! - A contact that one of the systems refuses is held with the reason until it changes; the others go on.
//! - AllAI's contact is asked for anew before anything is written to it, and nothing is ever deleted on either side.

mod found;
mod keys;
mod mapping;
mod merge;
mod report;
mod run;
mod values;
mod writing;

use std::sync::Arc;

use allai_connectors::{Connector, Entity};

use crate::clock::SharedClock;
use crate::config::{self, Misfit};
use crate::schedule::Holder;
use crate::sync;
use crate::sync::refresh::Refresher;
use crate::warehouse::{Bridge, Warehouse};

pub use keys::KeyKind;
pub use mapping::Mapping;
pub use merge::Winner;
pub use report::{Planned, Report, Status};

/// One `[contact_sync.NAME]`, ready to run.
#[derive(Debug)]
pub struct ContactSync {
    name: String,
    bridge: Bridge,
    entity: Entity,
    mapping: Mapping,
    connector: Arc<dyn Connector>,
    warehouse: Warehouse,
    clock: SharedClock,
    refresher: Refresher,
    holder: Holder,
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Send the contacts too that were there before the first run and have not changed since.
    pub backfill: bool,
}

impl ContactSync {
    /// Puts together what a section of the configuration says. It was checked when the configuration was loaded.
    ///
    /// # Errors
    ///
    /// All that is wrong with the mapping.
    pub fn new(
        name: &str,
        config: &config::ContactSync,
        account: Arc<sync::Account>,
        connector: Arc<dyn Connector>,
        warehouse: &Warehouse,
        clock: &SharedClock,
    ) -> Result<Self, Vec<Misfit>> {
        let entity = config.entity;
        Ok(Self {
            name: name.to_owned(),
            bridge: Bridge {
                account: account.name.clone(),
                connector: config.connector.clone(),
                entity: entity_name(entity).to_owned(),
            },
            entity,
            mapping: Mapping::new(config)?,
            connector,
            warehouse: warehouse.clone(),
            clock: Arc::clone(clock),
            refresher: Refresher::new(account, warehouse.clone(), Arc::clone(clock)),
            holder: Holder::new("contacts"),
        })
    }

    /// The section's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connector's name in the configuration.
    pub fn connector_name(&self) -> &str {
        &self.bridge.connector
    }
}

/// What a CRM's own list of fields says of a section's mapping; `Ok` says what was seen.
///
/// # Errors
///
/// What is wrong and what to do about it, one text each.
pub async fn check(name: &str, config: &config::ContactSync, connector: &dyn Connector) -> Result<String, Vec<String>> {
    let told = |misfits: Vec<Misfit>| misfits.into_iter().map(|misfit| misfit.problem).collect::<Vec<_>>();
    let mapping = Mapping::new(config).map_err(told)?;
    let Some(crm) = connector.crm() else {
        return Err(vec![format!(
            "connectors.{} is no CRM: it keeps no contacts",
            config.connector
        )]);
    };
    if mapping.reads_records() && !connector.capabilities().changes {
        return Err(vec![format!(
            "connectors.{} cannot tell what has changed: remove contact_sync.{name}.back",
            config.connector
        )]);
    }
    match crm.describe(config.entity).await {
        Ok(fields) => mapping.compare(&fields),
        Err(error) => Err(vec![error.to_string()]),
    }
}

/// The word for an entity in the warehouse and the configuration.
pub const fn entity_name(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "contact",
        Entity::Lead => "lead",
    }
}
