//! allai-sync keeps a company's own database an exact, proven mirror of its AllAI account. The README says what it does
//! for its users; this is the guide to the code.
//!
//! # The rooms
//!
//! | module | is |
//! |---|---|
//! | [`allai`] | the AllAI REST API: a typed client, its rate budget, tolerant decoding. Usable alone, as an SDK |
//! | [`sync`] | what to read and what absence means: [`sync::sweep`] is the algorithm, one file a resource drives it. No SQL, no URLs |
//! | [`warehouse`] | the company's database, SQLite or PostgreSQL: the only SQL |
//! | [`config`] | the configuration, one file a section; reports all errors at once |
//! | [`schedule`] | when jobs run and which program runs them: civil time, claims, the scheduler's loop |
//! | [`app`] | the parts put together: accounts with their clients and budgets, syncs side by side |
//! | [`lifecycle`] | the daemon: start, reload, stop, and what systemd hears of it |
//! | [`status`] | how the mirror stands, read from the warehouse alone |
//! | [`server`] | the admin listener: status page, JSON, session tokens, stock |
//! | [`stock`] | what is on stock, as the company's own systems say: asked once for many, remembered for outages, written down for reports |
//! | [`contacts`] | contacts kept the same in a CRM: the mapping, the three-way merge, what is done on both sides |
//! | [`automation`] | rules at work: what they are asked about, what they decide, and steps that are done once |
//! | [`listener`] | serving HTTP to whoever comes, with limits for every wait and for the number of connections |
//! | [`webhooks`] | the public listener: events received, stored and applied; registering it at AllAI |
//! | [`allai_connectors`] | a package of its own: ERPs and CRMs behind three small traits |
//! | [`sandbox`] | the simulated AllAI API behind `demo`, `sandbox` and the tests |
//! | [`clock`] | where time comes from, so that a simulation can drive the real code |
//! | [`alerts`] | telling people what needs one, once |
//! | `mail`, `nats`, `templates` | what several of these send by, and write texts with |
//! | [`metrics`] | what Prometheus reads: every name, one function for each moment that is counted |
//! | [`telemetry`], [`figures`] | logs; figures as people read them |
//!
//! The binary's `cli` has one file a subcommand and is the only home of `anyhow` and of printing. Imports run one way:
//! `cli → lifecycle → app → server, schedule → sync → allai, warehouse`; `sandbox` is imported by `cli` and tests alone.
//!
//! # One page of contacts, end to end
//!
//! 1. The [`schedule::Scheduler`] finds a job due and claims it, or [`app::App::sync`] does for somebody at a terminal;
//!    [`sync::run`] syncs that resource of that account.
//! 2. The resource's file picks a [`sync::sweep::Mode`]: everything, or the growing end of the list.
//! 3. The sweep says which offset it wants ([`sync::sweep::Sweep::next`]) and which it will probably want after that
//!    ([`sync::sweep::Sweep::ahead`]); [`allai::Client::list_read`] fetches them side by side, which waits for the
//!    [`allai::Budget`], retries what is worth it and takes the page apart as raw rows, on another thread.
//! 4. There, too, [`allai::model::Row::read`] glances at each row: id, times and the fingerprint of its text. Only a row whose text is not
//!    the stored one is decoded ([`allai::model::Record::decode`]): what fits goes into columns, the rest into `extra`. A row
//!    without an id is rejected.
//! 5. The sweep judges the page ([`sync::sweep::Sweep::offer`]): anchored to the one before, or dropped.
//! 6. [`warehouse::PageWriter::store_all`] takes the pages that are there by now, looks up what the warehouse has of them and
//!    writes only what differs, with history and quarantine; [`warehouse::PageWriter::commit`] adds the sweep's checkpoint, in
//!    one transaction. Where nothing changes it is noted elsewhere, at no cost to the disk ([`warehouse::Interim`]).
//! 7. When the sweep is finished and verified, rows it did not see become candidates for deletion, are confirmed, and get
//!    `deleted_at`.
//! 8. [`sync::parity`] has an independent look at two pages: is what the columns hold what the API has? It only ever warns.
//!    [`warehouse::Warehouse::finish_run`] writes the journal.
//!
//! # One event, end to end
//!
//! 1. [`webhooks::Receiver`] checks the signature, [`webhooks::Inbox`] stores the event on disk, and it is answered.
//! 2. [`webhooks::Applying`] holds the account's lease, claims all open events of an entity together, and has
//!    [`sync::refresh::Refresher`] fetch it with the budget's highest priority.
//! 3. It is stored by the same upsert as a sweep's page. Each page says when it was asked for: a row that was stored otherwise
//!    since is left alone ([`warehouse::Change::Doubtful`]) unless the API says that this one is newer, and is asked for again.
//! 4. The events end in one transaction with what they alone tell ([`warehouse::Payload`]).
//!
//! # One question, end to end
//!
//! 1. Whoever stores a row that rules may be about notes a [`warehouse::Trigger`] in the same transaction, event or sweep.
//! 2. [`automation::Automations`] asks the rules about it, and takes the trigger away in the transaction that adds their runs.
//! 3. A run is claimed by lease, of each conversation one at a time. Each step is prepared, stored as intended where it has an effect,
//!    performed, and stored as done; whoever goes on after a crash looks first whether the last one had its effect.
//!
//! # Invariants
//!
//! - A row is never lost: what cannot be stored is in `quarantine`, what is unknown in `extra`.
//! - Data and the checkpoint that claims it commit in one transaction; no transaction spans an HTTP call.
//! - Only a verified sweep may tombstone, and never more than the brake allows; a tombstone is reversible.
//! - Nothing unchanged is written, and nothing old over what is newer.
//! - A 429 that could be foreseen is not provoked.
//! - No secret and no personal value in logs and errors.
//! - Memory is bounded by the page and the window of pages fetched ahead, not by the account.
//! - Every wait can be cancelled, and an abrupt death costs at most that window.

pub mod alerts;
pub mod allai;
pub mod app;
pub mod automation;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod figures;
pub mod lifecycle;
pub mod listener;
mod mail;
pub mod metrics;
mod nats;
pub mod sandbox;
pub mod schedule;
pub mod server;
pub mod status;
pub mod stock;
pub mod sync;
pub mod telemetry;
mod templates;
pub mod warehouse;
pub mod webhooks;
