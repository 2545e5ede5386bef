//! AllAI's webhooks: from the moment an event is answered with 200 it is ours for ever, and milliseconds later what it is
//! about is fresh in the warehouse.
//!
//! 1. [`receive`](Receiver) takes a request, checks its signature over the bytes as they came, and hands the event in.
//! 2. [`Inbox`] stores it, with those that come at the same time, in one commit that reaches the disk; then it is answered.
//! 3. [`Applying`] claims the events of an entity, fetches the entity from the API and stores it as a sweep would.
//!
//! That AllAI sends them at all, [`register()`] sees to; [`Standing`] tells whether it would send what is wanted.
//!
//! Invariants:
//! - An event is a hint: what is stored in the mirror is what the API answers. So events may come twice, late, and in any
//!   order. What an event alone tells (a rating, a handoff, a lead's score) is kept under the event's key.
//! - What was not answered with 200 may come again, and is then known by its key.
//! - Nothing is done with what is not signed, and the answers to it do not tell what is wrong with the signature.

mod apply;
mod event;
mod forward;
mod inbox;
mod payload;
mod receive;
mod register;
mod subscription;
mod verify;

pub use apply::{Applying, Calls, Watched};
pub use event::{KNOWN as KNOWN_EVENTS, read as read_event};
pub use forward::Forwarder;
pub use inbox::{Inbox, NotStored, Storing};
pub use receive::{Receiver, Senders};
pub use register::{Action, Error as RegisterError, Registration, register};
pub use subscription::{Drift, Listed, Standing, Wanted};
pub use verify::signed_text;
