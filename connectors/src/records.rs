//! What connectors are asked and answer.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The systems there are connectors for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Tryton, from 6.0.
    Tryton,
    /// A database of one's own, by SQL.
    Sql,
    /// SmartBill, invoicing and stock.
    Smartbill,
    /// Oblio, invoicing and stock.
    Oblio,
    /// HubSpot, a CRM.
    Hubspot,
    /// Pipedrive, a CRM.
    Pipedrive,
    /// Any JSON API, as the configuration describes it.
    Rest,
    /// Exports in a folder.
    Files,
    /// Odoo, from 11.
    Odoo,
}

impl Kind {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tryton => "tryton",
            Self::Sql => "sql",
            Self::Smartbill => "smartbill",
            Self::Oblio => "oblio",
            Self::Hubspot => "hubspot",
            Self::Pipedrive => "pipedrive",
            Self::Rest => "rest",
            Self::Files => "files",
            Self::Odoo => "odoo",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a system can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent answers to independent questions"
)]
pub struct Capabilities {
    /// [`Erp::search`](crate::Erp::search).
    pub search: bool,
    /// [`Erp::stock`](crate::Erp::stock).
    pub stock: bool,
    /// Whether stock is told warehouse by warehouse.
    pub warehouses: bool,
    /// [`Erp::prices`](crate::Erp::prices).
    pub prices: bool,
    /// [`Erp::skus`](crate::Erp::skus).
    pub catalogue: bool,
    /// Contacts, by [`Crm`](crate::Crm).
    pub contacts: bool,
    /// Leads, by [`Crm`](crate::Crm).
    pub leads: bool,
    /// [`Crm::changes_since`](crate::Crm::changes_since).
    pub changes: bool,
}

/// One row of a query of the administrator's own: texts by the names of the columns, in small letters; `None` is NULL.
pub type Row = std::collections::BTreeMap<String, Option<String>>;

/// One thing that a check verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is, e.g. `credentials`.
    pub what: String,
    /// What was found.
    pub found: Found,
}

impl Check {
    /// All is well; what was seen.
    pub(crate) fn good(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            found: Found::Good(seen.into()),
        }
    }

    /// It does not work, and what to do about it.
    pub(crate) fn bad(what: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            found: Found::bad(problem, remedy),
        }
    }
}

impl Found {
    /// Whether all is well.
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// It does not work, and what to do about it.
    pub(crate) fn bad(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Bad {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// All is well; what was seen, e.g. `version 8.2.1`.
    Good(String),
    /// It does not work.
    Bad {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

/// A product, as a search finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The system's code for it.
    pub sku: String,
    /// Its name.
    pub name: Option<String>,
    /// Its barcode, if it has one.
    pub barcode: Option<String>,
}

/// How much there is of a product. `None` is "not known", never "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// What is in the warehouse.
    pub on_hand: Option<Decimal>,
    /// What of it, or of what is coming, can still be promised.
    pub available: Option<Decimal>,
}

/// The stock of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The SKU that was asked for, as it was asked for.
    pub asked: String,
    /// The product.
    pub item: Item,
    /// Unit of measure, in the system's words.
    pub uom: Option<String>,
    /// In all warehouses together.
    pub total: Figures,
    /// Warehouse by warehouse, those too that have none; empty if the system does not tell.
    pub warehouses: Vec<Warehouse>,
    /// When the figures were true, if the system says; else when it was asked.
    pub as_of: Option<DateTime<Utc>>,
}

/// The stock in one warehouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warehouse {
    /// The system's code for it, or its id.
    pub code: String,
    /// Its name.
    pub name: Option<String>,
    /// What there is.
    #[serde(flatten)]
    pub figures: Figures,
}

/// For what a price is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceQuery {
    /// How many are wanted, for quantity breaks; `None` is one.
    pub quantity: Option<Decimal>,
    /// The customer's group or price list, in the system's words.
    pub price_list: Option<String>,
}

/// What one unit of a product costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    /// The SKU that was asked for, as it was asked for.
    #[serde(skip)]
    pub asked: String,
    /// Without VAT.
    pub net: Option<Decimal>,
    /// With VAT.
    pub gross: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
}

/// What a CRM keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entity {
    /// A person or a company.
    Contact,
    /// A chance to sell: lead, deal or opportunity, in the system's words.
    Lead,
}

/// A field of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in [`Fields`].
    pub name: String,
    /// The name that people see.
    pub label: String,
    /// What it takes.
    pub takes: FieldType,
    /// Whether a record cannot be created without it.
    pub required: bool,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// What a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A point in time.
    Time,
    /// One of these values.
    Choice(Vec<String>),
    /// Another record, or something else that only the system understands.
    Other(String),
}

/// Values of a record, by the system's names of the fields.
pub type Fields = BTreeMap<String, Value>;

/// What a record is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The system's own id.
    Id(String),
    /// An e-mail address.
    Email(String),
    /// A telephone number, E.164.
    Phone(String),
    /// A reference of ours that the system keeps, in the field that the configuration names.
    Reference(String),
}

/// A record of a CRM.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The system's id.
    pub id: String,
    /// Its fields, as the system gives them.
    pub fields: Fields,
    /// When it was last changed, if the system says.
    pub changed_at: Option<DateTime<Utc>>,
}

/// What became of an upsert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upserted {
    /// The system's id of the record.
    pub id: String,
    /// Whether it was created.
    pub created: bool,
}

/// Records that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The records as they are now.
    pub records: Vec<Record>,
    /// Where to go on.
    pub cursor: String,
    /// Whether there are more right now.
    pub more: bool,
}
