//! The AllAI REST API, v2: a typed client, its rate budget, and the records it returns. Usable alone, as an SDK.
//!
//! - [`Client`] has a method for each endpoint of AllAI's guide. It waits for the rate limit, repeats what is worth
//!   repeating, never repeats what would create something twice, and returns a classified [`Error`].
//! - [`Budget`] is the rate limit of one API key; clients that share a key share it.
//! - [`model`] reads rows tolerantly: nothing that the server sent is dropped.
//! - [`signature`] tells genuine webhooks from forged ones.
//!
//! Where the guide is silent (envelopes, notations of time and of the rate limit), every usual form is taken.

mod budget;
mod call;
mod client;
mod endpoints;
mod error;
mod listing;
pub mod model;
mod page;
mod retry;
pub mod signature;
mod transport;

use std::fmt;

pub use budget::{Budget, BudgetSnapshot, Limits, Priority, Wait, WaitReason};
pub use client::{Client, ClientBuilder, Counters};
pub use endpoints::{
    ContactDetails, NewConversation, NewMessage, NewSession, NewVisitor, NewWebhook, SentMessage, SessionToken,
    TypedPage, Webhook,
};
pub use error::Error;
pub use listing::{ListQuery, Listing};
pub use page::Page;
pub use retry::RetryPolicy;
use serde::{Deserialize, Serialize};
pub use transport::{InProcess, MAX_BODY, Transport, TransportError};

/// What is mirrored: one entry per kind of data the API offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// `/contacts`.
    Contacts,
    /// `/conversations`.
    Conversations,
    /// `/conversations/{id}/messages`.
    Messages,
    /// The three reports under `/analytics`.
    Analytics,
}

impl Resource {
    /// All resources, in the order in which they are synced: messages need the conversations first.
    pub const ALL: [Self; 4] = [Self::Contacts, Self::Conversations, Self::Messages, Self::Analytics];

    /// The name users see: in the configuration, on the command line and in the warehouse.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Conversations => "conversations",
            Self::Messages => "messages",
            Self::Analytics => "analytics",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
