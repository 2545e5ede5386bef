//! The mirror, end to end: a simulated account behind a real listener, the program, and both databases, read as a BI
//! tool would. One file a promise.

mod accounts;
mod changes;
mod churn;
mod commands;
mod deletions;
mod equality;
mod faults;
mod interruptions;
mod keys;
mod messages;
mod parity;
mod rate_limit;
mod readers;
