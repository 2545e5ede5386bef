//! The mirror, end to end: a simulated account behind a real listener, the program, and both databases, read as a BI
//! tool would. One file a promise.

mod changes;
mod churn;
mod deletions;
mod equality;
mod faults;
mod interruptions;
mod keys;
