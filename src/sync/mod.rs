//! Keeping the mirror: what to read, in which order, and what its absence means.

pub mod order;
pub mod sweep;
