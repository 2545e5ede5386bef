//! The AllAI REST API, v2: a typed client, its rate budget, and the records it returns. Usable alone, as an SDK.
//!
//! - [`Client`] has a method for each endpoint of AllAI's guide. It waits for the rate limit, repeats what is worth
//!   repeating, never repeats what would create something twice, and returns a classified [`Error`].
//! - [`Budget`] is the rate limit of one API key; clients that share a key share it.
//! - [`model`] reads rows tolerantly: nothing that the server sent is dropped.
//! - [`signature`] tells genuine webhooks from forged ones.
//!
//! Where the guide is silent (envelopes, notations of time and of the rate limit), every usual form is taken.
//!
//! A whole program: all contacts, a question to the chatbot, and an error.
//!
//! ```
//! # use allai_sync::sandbox::{Options, Sandbox};
//! use allai_sync::allai::{Client, Error, ListQuery, NewConversation, NewMessage};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (base_url, api_key) = ("https://sandbox.api.allai.ro/v2", "YOUR_API_KEY");
//! #   let sandbox = Sandbox::start(Options::for_tests(150, 0)).await?;
//! #   let (base_url, api_key) = (sandbox.base_url().as_str(), sandbox.keys().full.as_str());
//!     let client = Client::builder(base_url.parse()?, api_key.into()).build()?;
//!
//!     // Page by page. A server may return fewer rows than asked for: it is the empty page that ends a list.
//!     let mut query = ListQuery { limit: 100, ..ListQuery::default() };
//!     loop {
//!         let page = client.list_contacts(&query).await?;
//!         if page.items.is_empty() && page.rejected.is_empty() {
//!             break;
//!         }
//!         for contact in &page.items {
//!             println!("{} {}", contact.id, contact.email.as_deref().unwrap_or("-"));
//!         }
//!         query.offset += (page.items.len() + page.rejected.len()) as u64;
//!     }
//! #   assert_eq!(query.offset, 150);
//!
//!     // A conversation with the chatbot.
//!     let new = NewConversation { chatbot_id: "cb_abc123".into(), ..NewConversation::default() };
//!     let conversation = client.create_conversation(&new).await?;
//!     let question = NewMessage::from_visitor("Cât costă Laptop X?");
//!     let sent = client.send_message(&conversation.id, &question).await?;
//!     if let Some(answer) = sent.bot_response {
//!         println!("{}", answer.content.unwrap_or_default());
//! #       assert!(sent.message.is_some());
//!     }
//!
//!     // An error says by its kind what can be done about it, and by its text what was asked and what the API said.
//!     let sent = client.send_message("conv_gone", &question).await;
//! #   assert!(sent.as_ref().is_err_and(Error::is_not_found));
//!     match sent {
//!         Ok(_) => println!("sent"),
//!         Err(error) if error.is_not_found() => println!("it does not exist any more: {error}"),
//!         Err(error) if error.stops_account() => return Err(error.into()),
//!         Err(Error::RateLimited { .. }) => println!("something else uses this key up"),
//!         Err(error) => println!("perhaps later: {error}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! To mirror a list that changes while it is read, offsets alone do not do: see [`sync::sweep`](crate::sync::sweep).

mod announced;
mod budget;
mod call;
mod client;
mod endpoints;
mod error;
mod listing;
#[cfg(test)]
mod logged;
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
    TypedPage, Webhook, WebhookChange,
};
pub use error::Error;
pub use listing::{ListQuery, Listing};
pub use page::Page;
pub use retry::{Patience, RetryPolicy};
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
