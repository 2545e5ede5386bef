//! Automations: a conversation asks, the business answers.
//!
//! What happens in an account is noted in the transaction that stores it ([`Trigger`](crate::warehouse::Trigger)), whether an event or
//! a sweep brought it. [`Automations`] asks the rules about it: a [`Rule`] whose condition holds gets a run, and for each rule
//! and version of what it is about there is one run, however often it is noted. A run does its steps one after the other,
//! and each is in the warehouse before its effect is tried: a program that dies leaves no doubt about what was done, and of
//! the one step that was being tried, whoever goes on looks first whether it had its effect.
//!
//! What visitors write is data: templates and expressions are the configuration's alone, and read it as values.

mod condition;
mod deciding;
mod execution;
mod facts;
mod happening;
mod masking;
mod mentions;
mod probe;
mod rehearsal;
mod rule;
mod step;
mod template;
mod tools;
mod worker;

pub(crate) use happening::interests;
pub use masking::mask_persons;
#[doc(hidden)]
pub use probe::{found_in, written};
pub use rehearsal::{Rehearsed, rehearse};
pub use rule::Rule;
pub use tools::Tools;
pub use worker::Automations;
