//! `[connectors.NAME]`: CRM and ERP systems.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::{KeyPath, OpenTable, words};

/// One CRM or ERP system.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct Connector {
    /// What system it is; decides which other keys there are.
    #[serde(deserialize_with = "words::name")]
    pub kind: ConnectorKind,
    /// The keys of that kind. Values from the environment are strings.
    #[serde(flatten)]
    pub options: OpenTable,
}

/// The systems that can be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorKind {
    /// Tryton, an ERP.
    Tryton,
    /// Odoo, an ERP and CRM.
    Odoo,
    /// SmartBill, invoicing and stock.
    Smartbill,
    /// Oblio, invoicing and stock.
    Oblio,
    /// HubSpot, a CRM.
    Hubspot,
    /// Pipedrive, a CRM.
    Pipedrive,
    /// Any JSON API.
    Rest,
    /// Any SQL database.
    Sql,
    /// CSV or other files.
    Files,
}

pub(super) fn validate(connectors: &BTreeMap<String, Connector>, at: &KeyPath, report: &mut Report) {
    for name in connectors.keys() {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
            report.wrong(
                &at.join(name),
                "not a name for a connector",
                "use 1 to 64 letters, digits, _ and -",
            );
        }
    }
}
