//! What a run did.

use serde::Serialize;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All that could be done is done; what is held waits for a person.
    #[default]
    Complete,
    /// Some contacts were put off, or somebody stopped it: the next run goes on.
    Incomplete,
    /// It could not go on.
    Failed,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// What a run did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The section's name in the configuration.
    pub name: String,
    /// The account's name in the configuration.
    pub account: String,
    /// The connector's name in the configuration.
    pub connector: String,
    /// `contact` or `lead`.
    pub entity: String,
    /// How it ended.
    pub status: Status,
    /// Whether it only looked.
    pub dry_run: bool,
    /// Records of the CRM that have changed, or come again.
    pub changes_read: u64,
    /// Contacts that were looked at.
    pub looked_at: u64,
    /// Records created in the CRM.
    pub created: u64,
    /// Records changed in the CRM.
    pub updated: u64,
    /// Contacts for which a record was there already.
    pub matched: u64,
    /// Contacts changed in AllAI.
    pub written_back: u64,
    /// Contacts that the configuration leaves out.
    pub skipped: u64,
    /// Contacts that one of the systems refuses.
    pub held: u64,
    /// Contacts of which it is not clear which record they are.
    pub conflicts: u64,
    /// Contacts that are looked at again by the next run.
    pub put_off: u64,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong.
    pub error: Option<String>,
    /// What a dry run would do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<Planned>,
}

/// What would be done about one contact: names of fields, no values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The contact.
    pub contact: String,
    /// Its record; `None` if one would be created, or it is held.
    pub record: Option<String>,
    /// The fields that would be written to the CRM.
    pub to_crm: Vec<String>,
    /// The members that would be written to AllAI.
    pub to_allai: Vec<String>,
    /// Why nothing would be done, if it is held or in conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
