//! The simulated AllAI API behind `demo`, `sandbox` and the tests: the guide's API in full, over a seeded, living
//! account, as nasty as its switches say.
//!
//! It is an independent reading of the guide: it imports nothing of the client, so the two cannot share a mistake.
//! Where the guide is silent, [`Options`] has a switch for every form that is to be expected.
//!
//! - [`options`](Options): the switches. To add one: a documented field there, and the one place that obeys it:
//!   `render` for the form of responses, `faults` for what goes wrong, `limits` for the rate limit, `account` for
//!   what the account holds and does.
//! - `account`: rows, lists in order, the seeded generator, churn, oddities, snapshots.
//! - `api`: what every request goes through, and one file a resource.
//! - `wire`: the listener. `webhooks`: deliveries. `bot`: what the chatbot says.
//!
//! The same seed and the same requests, one after the other, give the same account and the same faults.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use allai_sync::sandbox::{Options, Sandbox};
//!
//! let sandbox = Sandbox::start(Options::for_tests(10, 3)).await?;
//! println!("contacts are at {}contacts", sandbox.base_url());
//! assert_eq!(sandbox.account().snapshot().contacts.len(), 10);
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```

mod account;
mod api;
mod bot;
mod faults;
mod handle;
mod keys;
mod limits;
mod log;
mod options;
mod render;
mod units;
mod webhooks;
mod wire;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

pub use account::{
    CATALOGUE, ContactDraft, ConversationDraft, MessageDraft, MutationKinds, OddKind, Product, Snapshot, SnapshotRow,
};
pub use handle::AccountHandle;
pub use keys::Keys;
pub use log::{LogEntry, Stats};
pub use options::{
    AccountOptions, ChurnKind, ChurnOf, ChurnOptions, ChurnWhere, Envelope, FaultOptions, LimitOptions, MessageOrder,
    ObjectEnvelope, Options, Order, RateHeaders, ResetFormat, RetryAfter, ShapeOptions, TimeFormat, Totals,
    WebhookAgain, WebhookEndpoint, WebhookForm, WebhookOptions, WindowKind,
};
pub use units::{parse_duration, parse_share, parse_signed_duration};
pub use webhooks::Delivery;
pub use wire::Broken;

use crate::clock::{SharedClock, SystemClock};
use api::Api;
use webhooks::Outgoing;

/// A running sandbox. Dropping it stops it at once.
#[derive(Debug)]
pub struct Sandbox {
    api: Arc<Api>,
    base_url: Url,
    outgoing: Outgoing,
    task: Option<JoinHandle<()>>,
}

/// Answers requests without a listener.
pub type InProcess = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, Broken>> + Send + Sync>;

impl Sandbox {
    /// Generates the account and listens. Fails if the address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::start_with_clock(options, SystemClock::shared()).await
    }

    /// As [`start`](Self::start), on a clock of the caller's.
    pub async fn start_with_clock(options: Options, clock: SharedClock) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let base_url = base_url(listener.local_addr()?);
        let (outgoing, parcels) = Outgoing::new();
        let api = Arc::new(Api::new(options, clock, Some(outgoing.clone())));
        let (serving, delivering) = (Arc::clone(&api), outgoing.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = wire::serve(listener, Arc::clone(&serving)) => {}
                () = webhooks::deliver_all(Arc::clone(&serving), delivering, parcels) => {}
            }
        });
        Ok(Self {
            api,
            base_url,
            outgoing,
            task: Some(task),
        })
    }

    /// A sandbox without a listener, for simulations: see [`in_process_transport`](Self::in_process_transport). It
    /// delivers no webhooks.
    pub fn in_process(options: Options, clock: SharedClock) -> Self {
        let base_url = base_url(SocketAddr::new(options.listen.ip(), 80));
        let (outgoing, _) = Outgoing::new();
        let api = Arc::new(Api::new(options, clock, None));
        Self {
            api,
            base_url,
            outgoing,
            task: None,
        }
    }

    /// Where the API is: `http://127.0.0.1:PORT/v2/`.
    pub const fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// The account's API keys.
    pub fn keys(&self) -> &Keys {
        &self.api.keys
    }

    /// The account, to look at and to change.
    pub fn account(&self) -> AccountHandle {
        AccountHandle(Arc::clone(&self.api))
    }

    /// Answers requests as the listener would, without one. A request that is never answered takes `timeout` on the
    /// clock, then fails with [`Broken::Stalled`].
    pub fn in_process_transport(&self, timeout: Duration) -> InProcess {
        let api = Arc::clone(&self.api);
        Arc::new(move |request| {
            let api = Arc::clone(&api);
            Box::pin(async move { wire::call(&api, request, timeout).await })
        })
    }

    /// The switches as they are now.
    pub fn options(&self) -> Options {
        self.api.state().options.clone()
    }

    /// Changes switches while running. The seed, the address and the size of the account stay what they were.
    pub fn set_options(&self, change: impl FnOnce(&mut Options)) {
        let mut state = self.api.state();
        let state = &mut *state;
        change(&mut state.options);
        state.account.reconfigure(&state.options);
    }

    /// Revokes a key: requests with it are answered 401 from now on.
    pub fn revoke(&self, key: &str) {
        self.api.state().revoked.push(key.to_owned());
    }

    /// Every request so far, oldest first (the last 200,000).
    pub fn log(&self) -> Vec<LogEntry> {
        self.api.state().log.entries()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.api.state().log.clear();
    }

    /// Counts of the requests so far.
    pub fn stats(&self) -> Stats {
        let state = self.api.state();
        state.log.stats(state.options.limits.window)
    }

    /// Every attempt to deliver a webhook so far, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.outgoing.deliveries()
    }

    /// Completes when every event so far has been delivered or given up.
    pub async fn deliveries_finished(&self) {
        self.outgoing.idle().await;
    }

    /// Stops listening, cuts every connection and gives up every delivery.
    pub async fn stop(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It was aborted: there is nothing to learn from how it ended.
            task.await.ok();
        }
    }

    /// What to tell the person who started it: where it is, with which keys, and how to try it.
    pub fn banner(&self) -> String {
        let (url, keys, state) = (&self.base_url, &self.api.keys, self.api.state());
        let (contacts, conversations) = (state.account.contacts.len(), state.account.conversations.len());
        let limit = match state.options.limits.limit {
            0 => "no rate limit".to_owned(),
            limit => format!("{limit} requests per {} s", state.options.limits.window.as_secs_f64()),
        };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "AllAI sandbox at {url}\n\
             {contacts} contacts, {conversations} conversations, seed {seed}, {limit}\n\n\
             API keys (made up from the seed; they open nothing else):\n\
             \x20 everything   {full}\n\
             \x20 read only    {read}\n\
             \x20 write only   {write}\n\
             \x20 admin only   {admin}\n\n\
             Try it:\n\
             \x20 curl -H 'Authorization: Bearer {full}' '{url}contacts?limit=2'\n\n\
             Mirror it, with this in config.toml:\n\
             \x20 [accounts.main]\n\
             \x20 environment = \"sandbox\"\n\
             \x20 base_url = \"{base}\"\n\
             \x20 api_key = \"{full}\"\n",
            seed = state.options.seed,
            full = keys.full,
            read = keys.read,
            write = keys.write,
            admin = keys.admin,
            base = url.as_str().trim_end_matches('/'),
        );
        text
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn base_url(address: SocketAddr) -> Url {
    let url = format!("http://{address}/v2/");
    Url::parse(&url).unwrap_or_else(|error| panic!("{url} is a URL: {error}"))
}
