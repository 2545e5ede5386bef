//! The real client, budget, sweep and warehouse against the sandbox in process, on a virtual clock.

use std::sync::Arc;
use std::time::Duration;

use allai_sync::allai::{Budget, Client, Limits, Resource, Transport, TransportError};
use allai_sync::clock::{Clock as _, SharedClock, VirtualClock};
use allai_sync::sandbox::{AccountHandle, Broken, Options, Sandbox};
use allai_sync::sync::{self, Job, Progress};
use allai_sync::warehouse::{Location, RunStatus, Warehouse};
use http::Uri;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::database::Database;

/// An account and its mirror on a clock of their own, without a network between them.
pub(crate) struct Simulation {
    pub(crate) clock: VirtualClock,
    pub(crate) sandbox: Sandbox,
    pub(crate) account: sync::Account,
    pub(crate) database: Database,
    pub(crate) warehouse: Warehouse,
}

impl Simulation {
    pub(crate) async fn new(database: Database, options: Options) -> Self {
        Self::with_events(database, options, |_, _| {}).await
    }

    /// `before` is called before each request is answered.
    pub(crate) async fn with_events(
        database: Database,
        options: Options,
        before: impl Fn(&AccountHandle, &Uri) + Send + Sync + 'static,
    ) -> Self {
        let clock = VirtualClock::new("2026-01-19T10:00:17Z".parse().unwrap());
        let sandbox = Sandbox::in_process(options, clock.shared());
        let timeout = Duration::from_secs(30);
        let answer = sandbox.in_process_transport(timeout);
        let account = sandbox.account();
        let transport = Transport::InProcess(Arc::new(move |request| {
            before(&account, request.uri());
            let answered = answer(request);
            Box::pin(async move {
                answered.await.map_err(|broken| match broken {
                    Broken::Stalled => TransportError::Timeout,
                    Broken::Reset | Broken::Truncated => TransportError::Interrupted(broken.to_string()),
                })
            })
        }));
        let limits = Limits {
            max_in_flight: 1,
            ..Limits::default()
        };
        let key = SecretString::from(sandbox.keys().read.clone());
        let client = Client::builder(sandbox.base_url().clone(), key)
            .budget(Arc::new(Budget::new(limits, clock.shared())))
            .clock(clock.shared())
            .timeout(timeout)
            .transport(transport)
            .build()
            .unwrap();
        let account = account_in_lockstep(client);
        let (url, schema) = (database.url(), database.schema());
        let warehouse = Warehouse::open(&Location { url, schema }, clock.shared())
            .await
            .unwrap();
        warehouse.migrate().await.unwrap();
        Self {
            clock,
            sandbox,
            account,
            database,
            warehouse,
        }
    }

    /// Syncs the lists; returns the time it took on the clock.
    pub(crate) async fn sync(&self) -> Duration {
        let started = self.clock.monotonic();
        let clock: SharedClock = self.clock.shared();
        for resource in [Resource::Contacts, Resource::Conversations, Resource::Messages] {
            let job = Job {
                account: &self.account,
                warehouse: &self.warehouse,
                clock: &clock,
                options: sync::Options::default(),
                trigger: "test",
                progress: &Progress::default(),
                cancelled: &CancellationToken::new(),
            };
            let record = sync::run(&job, resource).await.record;
            assert_eq!(record.status, RunStatus::Complete, "{record:#?}");
            assert_eq!(record.rate_limited, 0, "{record:#?}");
        }
        self.clock.monotonic().saturating_sub(started)
    }
}

/// The account `main`, read by one task: a virtual clock is exact for no more.
pub(crate) fn account_in_lockstep(client: Client) -> sync::Account {
    sync::Account {
        name: "main".to_owned(),
        client,
        page_size: 20,
        concurrency: 1,
        in_lockstep: true,
        contact_fields: Vec::new(),
        conversation_fields: Vec::new(),
        message_fields: Vec::new(),
        periods: Vec::new(),
    }
}
