//! The real client, budget, sweep and warehouse against the sandbox in process, on a virtual clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allai_sync::allai::{Budget, Client, Limits, Resource, Transport, TransportError};
use allai_sync::clock::{Clock as _, SharedClock, VirtualClock};
use allai_sync::sandbox::{AccountHandle, Broken, Options, Sandbox};
use allai_sync::sync::{self, Job, Progress};
use allai_sync::warehouse::{Location, RunStatus, Warehouse};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Response, Uri};
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
    pub(crate) odd: Odd,
}

/// What is answered in the sandbox's place, by the beginning of the path.
#[derive(Clone, Default)]
pub(crate) struct Odd(Arc<Mutex<OddState>>);

#[derive(Default)]
struct OddState {
    paths: Vec<(String, OddAnswer)>,
    asked: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum OddAnswer {
    /// A status, with a header.
    Status(u16, (&'static str, &'static str)),
    /// None, for as long as a client waits.
    Silence,
}

impl Odd {
    pub(crate) fn at(&self, path: &str, answer: OddAnswer) {
        self.0.lock().unwrap().paths.push((path.to_owned(), answer));
    }

    pub(crate) fn nowhere(&self) {
        self.0.lock().unwrap().paths.clear();
    }

    /// The paths that were asked for since this was asked last, in order, odd or not.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn answer(&self, uri: &Uri) -> Option<OddAnswer> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(uri.path().to_owned());
        let odd = state.paths.iter().find(|(path, _)| uri.path().starts_with(path));
        odd.map(|(_, answer)| *answer)
    }
}

impl OddAnswer {
    async fn give(self, clock: SharedClock) -> Result<Response<Bytes>, TransportError> {
        match self {
            Self::Status(status, (name, value)) => {
                let answer = Response::builder().status(status).header(name, value);
                Ok(answer.body(Bytes::from_static(b"{}")).unwrap())
            }
            Self::Silence => {
                clock.sleep(ANSWER_WITHIN).await;
                Err(TransportError::Timeout)
            }
        }
    }
}

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

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
        Self::with_hands(database, options, 1, before).await
    }

    /// So many requests may be under way.
    pub(crate) async fn with_hands(
        database: Database,
        options: Options,
        max_in_flight: usize,
        before: impl Fn(&AccountHandle, &Uri) + Send + Sync + 'static,
    ) -> Self {
        let clock = VirtualClock::new("2026-01-19T10:00:17Z".parse().unwrap());
        let sandbox = Sandbox::in_process(options, clock.shared());
        let answer = sandbox.in_process_transport(ANSWER_WITHIN);
        let (account, odd) = (sandbox.account(), Odd::default());
        let (odd_answers, odd_clock) = (odd.clone(), clock.shared());
        let transport = Transport::InProcess(Arc::new(move |request| {
            if let Some(odd) = odd_answers.answer(request.uri()) {
                return Box::pin(odd.give(Arc::clone(&odd_clock))) as BoxFuture<'static, _>;
            }
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
            max_in_flight,
            ..Limits::default()
        };
        let key = SecretString::from(sandbox.keys().read.clone());
        let client = Client::builder(sandbox.base_url().clone(), key)
            .budget(Arc::new(Budget::new(limits, clock.shared())))
            .clock(clock.shared())
            .timeout(ANSWER_WITHIN)
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
            odd,
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
