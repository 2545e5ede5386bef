//! allai-sync keeps a company's own database an exact mirror of its AllAI account.

pub mod allai;
pub mod app;
pub mod clock;
pub mod config;
pub mod figures;
pub mod sandbox;
pub mod server;
pub mod status;
pub mod sync;
pub mod telemetry;
pub mod warehouse;
