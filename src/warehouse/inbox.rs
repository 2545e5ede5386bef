//! The inbox: webhook events from the moment they are ours until they are applied, and a while longer.
//!
//! An event is stored on disk before its sender is told so. One program at a time applies the events of an account: it holds
//! the lease in `inboxes`. It claims all open events of an entity together, because one fetch answers all of them.
//! `attempts` counts the claims of an event that was due, and `crashes` those that no program saw the end of: a machine that
//! loses power now and then costs an event nothing, and one that ends the program whenever it is applied ends as `dead`.

mod applying;
mod looking;
mod same;
mod storing;

use serde::{Deserialize, Serialize};

pub use applying::{ClaimedEntity, ClaimedEvent, Ended, Ending, InboxStanding};
pub use looking::{EventRow, InboxSummary};
pub use storing::NewEvent;
pub(super) use storing::STORE_MANY;

use super::statement::Statement;

pub(super) const STATEMENTS: [&[Statement]; 3] = [storing::STATEMENTS, applying::STATEMENTS, looking::STATEMENTS];

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// A conversation, by its id.
    Conversation(String),
    /// A contact, by its id.
    Contact(String),
    /// Nothing that can be fetched: the event alone, by its key.
    Event(String),
}

impl Entity {
    /// As the column `entity` has it.
    pub fn to_column(&self) -> String {
        match self {
            Self::Conversation(id) => format!("conversation:{id}"),
            Self::Contact(id) => format!("contact:{id}"),
            Self::Event(key) => format!("event:{key}"),
        }
    }

    pub(super) fn of_column(text: &str) -> Self {
        match text.split_once(':') {
            Some(("conversation", id)) => Self::Conversation(id.to_owned()),
            Some(("contact", id)) => Self::Contact(id.to_owned()),
            Some((_, key)) => Self::Event(key.to_owned()),
            None => Self::Event(text.to_owned()),
        }
    }
}

/// How events stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It waits.
    Pending,
    /// It is being applied.
    Processing,
    /// It was applied.
    Done,
    /// It is not tried any more.
    Dead,
}

impl EventStatus {
    /// All, in the order of an event's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Done, Self::Dead];

    /// The word kept in the warehouse.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}
