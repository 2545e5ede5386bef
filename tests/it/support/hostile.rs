//! An API that is a function: it says whatever a test wants it to say, in no time.
//!
//! The client, the sweep and the warehouse are the real ones; waits between attempts pass on a virtual clock.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allai_sync::allai::{Budget, Client, Limits, Resource, Transport};
use allai_sync::clock::{SharedClock, VirtualClock};
use allai_sync::sync::{self, Job, Progress};
use allai_sync::warehouse::{Location, RunRecord, RunStatus, Warehouse};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::simulation::account_in_lockstep;

/// What is asked for.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

impl Asked {
    /// The same with another limit.
    pub(crate) fn limited_to(&self, limit: usize) -> Self {
        Self {
            path: self.path.clone(),
            offset: self.offset,
            limit,
        }
    }
}

/// A server that is a function, and the mirror of what it says.
pub(crate) struct Hostile {
    pub(crate) account: sync::Account,
    clock: VirtualClock,
    pub(crate) database: Database,
    warehouse: Warehouse,
    pub(crate) requests: Arc<AtomicU64>,
}

const NOW: &str = "2026-01-19T10:00:17Z";

impl Hostile {
    /// Asks for pages of 20 rows.
    pub(crate) async fn new(database: Database, answer: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        Self::saying_bytes(database, move |asked| answer(asked).into_bytes()).await
    }

    pub(crate) async fn saying_bytes(
        database: Database,
        answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::answering(database, 1, move |asked| Box::pin(ready(answer(&asked)))).await
    }

    /// Is asked for so many pages at a time, and answers when it likes.
    pub(crate) async fn answering(
        database: Database,
        at_a_time: usize,
        answer: impl Fn(Asked) -> BoxFuture<'static, Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let clock = VirtualClock::new(NOW.parse().unwrap());
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        let transport = Transport::InProcess(Arc::new(move |request: Request<Bytes>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let body = answer(asked(&request));
            Box::pin(async move {
                let response = Response::builder()
                    .header("Date", "Mon, 19 Jan 2026 10:00:17 GMT")
                    .header("X-RateLimit-Limit", "1000000")
                    .body(Bytes::from(body.await));
                Ok(response.unwrap())
            })
        }));
        let limits = Limits {
            ceiling_per_minute: None,
            fallback_per_minute: 1_000_000,
            max_in_flight: at_a_time,
            ..Limits::default()
        };
        let client = Client::builder("http://127.0.0.1/v2".parse().unwrap(), SecretString::from("key"))
            .budget(Arc::new(Budget::new(limits, clock.shared())))
            .clock(clock.shared())
            .transport(transport)
            .build()
            .unwrap();
        let account = sync::Account {
            periods: vec!["30d".to_owned()],
            concurrency: at_a_time,
            in_lockstep: at_a_time == 1,
            ..account_in_lockstep(client)
        };
        let (url, schema) = (database.url(), database.schema());
        let warehouse = Warehouse::open(&Location { url, schema }, clock.shared())
            .await
            .unwrap();
        warehouse.migrate().await.unwrap();
        Self {
            account,
            clock,
            database,
            warehouse,
            requests,
        }
    }

    pub(crate) async fn sync(&self, resource: Resource, full: bool) -> RunRecord {
        let clock: SharedClock = self.clock.shared();
        let job = Job {
            account: &self.account,
            warehouse: &self.warehouse,
            clock: &clock,
            options: sync::Options {
                full,
                ..sync::Options::default()
            },
            trigger: "test",
            progress: &Progress::default(),
            cancelled: &CancellationToken::new(),
        };
        sync::run(&job, resource).await.record
    }

    /// Syncs, and again: what was found once is found as it is.
    pub(crate) async fn sync_twice(&self, resource: Resource) -> RunRecord {
        let first = self.sync(resource, true).await;
        assert_eq!(first.status, RunStatus::Complete, "{first:#?}");
        let second = self.sync(resource, true).await;
        assert_eq!(second.status, RunStatus::Complete, "{second:#?}");
        assert_eq!(
            (second.inserted, second.updated, second.deleted, second.restored),
            (0, 0, 0, 0),
            "{second:#?}"
        );
        assert_eq!(second.quarantined, first.quarantined, "{second:#?}");
        first
    }

    pub(crate) async fn count(&self, from: &str) -> u64 {
        let count = self.database.value(&format!("SELECT count(*) FROM {from}")).await;
        count.parse().unwrap()
    }

    /// The failure of a run, which is in the journal as well.
    pub(crate) async fn failure(&self, run: &RunRecord) -> String {
        assert_eq!(run.status, RunStatus::Failed, "{run:#?}");
        let error = run.error.clone().unwrap();
        let newest = "SELECT error FROM sync_runs ORDER BY id DESC LIMIT 1";
        assert_eq!(self.database.value(newest).await, error);
        error
    }
}

fn asked(request: &Request<Bytes>) -> Asked {
    let number = |name: &str| {
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    };
    Asked {
        path: request.uri().path().trim_start_matches("/v2").to_owned(),
        offset: number("offset"),
        limit: number("limit"),
    }
}

/// A page of `rows`, as a server cuts it.
pub(crate) fn page(rows: &[String], asked: &Asked) -> String {
    let from = asked.offset.min(rows.len());
    let to = (from + asked.limit).min(rows.len());
    format!("{{\"data\":[{}],\"total\":{}}}", rows[from..to].join(","), rows.len())
}

/// The same without a total: it would tell that something is amiss.
pub(crate) fn page_alone(rows: &[String], asked: &Asked) -> String {
    let from = asked.offset.min(rows.len());
    let to = (from + asked.limit).min(rows.len());
    format!("{{\"data\":[{}]}}", rows[from..to].join(","))
}

pub(crate) fn good(number: usize) -> String {
    format!(
        "{{\"id\":\"good{number}\",\"name\":\"Ana {number}\",\"created_at\":\"2026-01-{:02}T08:00:{:02}Z\"}}",
        1 + number / 60 % 18,
        number % 60
    )
}
