//! The guide's endpoints, typed: one file a resource, each adding its calls to [`Client`](super::Client).
//!
//! To add an endpoint: build a [`Call`](super::call::Call) (`get`, `change` for what may be repeated, `create` for what
//! may not), hand it to `Client::execute` with the function that reads the answer.

mod analytics;
mod contacts;
mod conversations;
mod messages;
mod session;
mod webhooks;

pub use contacts::ContactDetails;
pub use conversations::{NewConversation, NewVisitor};
pub use messages::{NewMessage, SentMessage};
pub use session::{NewSession, SessionToken};
pub use webhooks::{NewWebhook, Webhook, WebhookChange};

use super::listing::{ListQuery, Listing};
use super::model::{Record, Rejected};
use super::{Client, Error};

/// A page of a list, decoded.
#[derive(Clone, Debug)]
pub struct TypedPage<T> {
    /// The rows that could be read.
    pub items: Vec<T>,
    /// The rows that could not.
    pub rejected: Vec<Rejected>,
    /// How many rows the whole list has, if the server says so.
    pub total: Option<u64>,
    /// Whether there are rows after these, if the server says so.
    pub has_more: Option<bool>,
}

impl Client {
    /// A page of a list, its rows read by [`Record::decode`] and narrowed by `pick`.
    async fn typed_list<T>(
        &self,
        listing: &Listing,
        query: &ListQuery,
        pick: impl Fn(Record) -> Option<T>,
    ) -> Result<TypedPage<T>, Error> {
        let page = self.list(listing, query).await?;
        let mut typed = TypedPage {
            items: Vec::with_capacity(page.items.len()),
            rejected: Vec::new(),
            total: page.total,
            has_more: page.has_more,
        };
        for raw in page.items {
            match Record::decode(listing, &raw) {
                Ok(record) => typed.items.extend(pick(record)),
                Err(rejected) => typed.rejected.push(rejected),
            }
        }
        Ok(typed)
    }
}
