//! allai-sync keeps a company's own database an exact mirror of its AllAI account.

pub mod allai;
pub mod clock;
pub mod sandbox;
