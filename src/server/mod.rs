//! The admin listener: the status page, the same as JSON, and what may be asked of the daemon.
//!
//! One page, self-contained, rendered on the server from what the warehouse says; it renews itself. To add a route: a
//! function here and a line in `router`; one that changes something takes an `Authorized`.

mod authorized;
mod automations;
mod chart;
mod jobs;
mod page;
mod read;
mod replaying;
mod session_tokens;
mod stock;
mod webhooks;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::allai::Client;
use crate::clock::SharedClock;
use crate::config::{self, Secret};
use crate::listener::{self, Hooks, Limits};
use crate::metrics::{self, Exporter};
use crate::schedule::{Health, Plan};
use crate::status::{Gathered, Known, StatusReport};
use crate::stock::Stocks;
use crate::warehouse::{self, InboxSummary, JobState, RunsSummary, Standing, Warehouse};
use read::{Cached, Problem, Terms};
use session_tokens::Allowance;

/// A scheduler that has not looked at its jobs for so long is not keeping schedules.
const STUCK: Duration = Duration::from_mins(1);

/// What the listener allows: a few people and programs, that are not far away, and a shop whose visitors all ask for stock at a
/// time. One address gets most of the places, since they may all come by one proxy.
const LIMITS: Limits = Limits {
    connections: 1_280,
    per_address: 1_152,
    head: Duration::from_secs(10),
    request: Duration::from_secs(15),
    taking: Duration::from_secs(30),
    body_bytes: 64 << 10,
    bodies_bytes: 8 << 20,
    closing: Duration::from_secs(1),
};

/// How long the database is waited for, by those who ask whether all is well and are promised an answer within 5 s, …
const PROBED: Duration = Duration::from_secs(3);
/// … and by people, who are promised one within 10 s.
const PATIENCE: Duration = Duration::from_secs(8);
/// How what is asked for is read; the page renews itself every five seconds.
const READ: Terms = Terms {
    fresh: Duration::from_secs(2),
    rest: 0,
    given_up: Duration::from_secs(15),
};
/// Counting takes long where there is much to count: it may take a tenth of the time.
const COUNTED: Terms = Terms {
    rest: 10,
    given_up: Duration::from_mins(1),
    ..READ
};

/// What a new configuration may change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The accounts that are shown even if they were never synced.
    pub accounts: Vec<String>,
    /// When their jobs run, if schedules are kept.
    pub plans: Vec<Plan>,
    /// How much older than its schedule leaves it a resource may be before it is stale.
    pub stale_after: Duration,
    /// What calls that change something must bring; none: they are refused.
    pub token: Option<Secret>,
    /// The accounts' APIs, by name: for session tokens.
    pub clients: BTreeMap<String, Client>,
    /// How long session tokens are valid at most.
    pub session_token_max: Duration,
    /// How many session tokens a minute are handed out.
    pub session_tokens_per_minute: u32,
    /// The company's systems that know stock.
    pub stocks: Stocks,
}

impl Default for Settings {
    fn default() -> Self {
        let config = config::Admin::default();
        Self {
            accounts: Vec::new(),
            plans: Vec::new(),
            stale_after: config::Alerts::default().stale_after,
            token: None,
            clients: BTreeMap::new(),
            session_token_max: config.session_token_max,
            session_tokens_per_minute: config.session_tokens_per_minute,
            stocks: Stocks::default(),
        }
    }
}

/// The schedules that are kept beside the listener.
#[derive(Clone, Debug)]
pub struct Schedules {
    /// Makes them look at the jobs.
    pub woken: Arc<Notify>,
    /// Whether they are kept.
    pub health: watch::Receiver<Health>,
}

/// What the routes need.
#[derive(Clone, Debug)]
struct Admin {
    warehouse: Warehouse,
    reads: Arc<Reads>,
    clock: SharedClock,
    settings: watch::Receiver<Settings>,
    schedules: Option<Schedules>,
    exporter: Option<Exporter>,
    allowance: Arc<Allowance>,
}

impl Admin {
    fn stocks(&self) -> Stocks {
        self.settings.borrow().stocks.clone()
    }
}

/// What metrics tell of the warehouse.
#[derive(Debug)]
struct Standings {
    resources: Vec<Standing>,
    jobs: Vec<JobState>,
    inboxes: Vec<InboxSummary>,
    automations: Vec<RunsSummary>,
}

/// What the routes read.
#[derive(Debug)]
struct Reads {
    /// Whether the tables are those of this version.
    current: Cached<bool>,
    /// How the resources, their jobs, the webhook events and the runs of rules stand.
    standings: Cached<Standings>,
    gathered: Cached<Gathered>,
}

impl Reads {
    fn of(warehouse: &Warehouse, clock: &SharedClock) -> Self {
        let of = warehouse.clone();
        let current = Cached::new(clock, READ, move || {
            let warehouse = of.clone();
            async move { Ok(warehouse.schema_is_current().await?) }
        });
        let of = warehouse.clone();
        let standings = Cached::new(clock, COUNTED, move || {
            let warehouse = of.clone();
            async move {
                let jobs = warehouse.jobs().await?;
                let accounts: BTreeSet<&str> = jobs.iter().map(|job| job.account.as_str()).collect();
                Ok(Standings {
                    inboxes: warehouse.inbox_summaries(accounts.clone()).await?,
                    automations: warehouse.runs_summaries(accounts).await?,
                    resources: warehouse.standings().await?,
                    jobs,
                })
            }
        });
        let of = warehouse.clone();
        let figures = Arc::new(Cached::new(clock, COUNTED, move || {
            let warehouse = of.clone();
            async move { Ok(warehouse.figures().await?) }
        }));
        let (of, now) = (warehouse.clone(), Arc::clone(clock));
        let gathered = Cached::new(clock, READ, move || {
            let (warehouse, figures, clock) = (of.clone(), Arc::clone(&figures), Arc::clone(&now));
            async move {
                // Better those of a while ago than none.
                let figures = match figures.last() {
                    Some(last) => figures.get(READ.fresh).await.unwrap_or(last),
                    None => figures.get(COUNTED.given_up).await?,
                };
                Ok(Gathered::read(&warehouse, &figures, clock.now()).await?)
            }
        });
        Self {
            current,
            standings,
            gathered,
        }
    }
}

/// The admin listener, bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    admin: Admin,
}

impl Server {
    /// Serves what is in `warehouse` on a listener that is bound already.
    pub fn on(
        listener: TcpListener,
        warehouse: Warehouse,
        clock: SharedClock,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        Self {
            listener,
            admin: Admin {
                reads: Arc::new(Reads::of(&warehouse, &clock)),
                warehouse,
                allowance: Arc::new(Allowance::new(&clock)),
                clock,
                settings,
                schedules: None,
                exporter: None,
            },
        }
    }

    /// With metrics.
    #[must_use]
    pub fn with_metrics(mut self, exporter: Option<Exporter>) -> Self {
        self.admin.exporter = exporter;
        self
    }

    /// With schedules that are kept in this process.
    #[must_use]
    pub fn with_schedules(mut self, schedules: Schedules) -> Self {
        self.admin.schedules = Some(schedules);
        self
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled, and a second more at most.
    pub async fn serve(self, stop: CancellationToken) {
        let clock = Arc::clone(&self.admin.clock);
        listener::serve(self.listener, router(self.admin), LIMITS, Hooks::default(), clock, stop).await;
    }
}

/// What the warehouse says, if it says it in time.
async fn patiently<T>(admin: &Admin, asking: impl Future<Output = Result<T, warehouse::Error>>) -> Result<T, Problem> {
    tokio::select! {
        said = asking => said.map_err(Problem::from),
        () = admin.clock.sleep(PATIENCE) => Err(Problem::Silent(PATIENCE)),
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/jobs/{job}/run", post(jobs::run))
        .route("/api/v1/stock", get(stock::several))
        .route("/api/v1/stock/{*sku}", get(stock::one))
        .route("/api/v1/session-token", post(session_tokens::issue))
        .route("/api/v1/webhooks/{account}/events", get(webhooks::events))
        .route("/api/v1/webhooks/{account}/replay", post(webhooks::replay))
        .route("/api/v1/automations/{account}/runs", get(automations::runs))
        .route("/api/v1/automations/{account}/runs/{id}", get(automations::run))
        .route("/api/v1/automations/{account}/replay", post(automations::replay))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                "there is nothing here; the status page is at /\n",
            )
        })
        .method_not_allowed_fallback(other_method)
        .layer(map_response(guarded))
        .with_state(admin)
}

/// Nothing that is served is kept, guessed at, or tells other servers where it was.
async fn guarded(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The header `Allow`, which names those that are taken, is the router's.
async fn other_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let text = "this address does not take this method; the header Allow says which\n";
        (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
    }
}

async fn status_page(State(admin): State<Admin>) -> Response {
    match report(&admin).await {
        Ok(report) => match page::render(&report) {
            Ok(html) => ([(header::CONTENT_SECURITY_POLICY, page::policy())], Html(html)).into_response(),
            Err(error) => unavailable(&error),
        },
        Err(error) => unavailable(&error),
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    match report(&admin).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => unavailable(&error),
    }
}

/// What Prometheus reads: of the accounts of the configuration, and this process.
async fn metrics(State(admin): State<Admin>) -> Response {
    let Some(exporter) = &admin.exporter else {
        return (StatusCode::NOT_FOUND, "this program counts nothing\n").into_response();
    };
    let (accounts, connectors) = {
        let settings = admin.settings.borrow();
        let connectors: Vec<String> = settings.stocks.names().map(str::to_owned).collect();
        (settings.accounts.clone(), connectors)
    };
    let standings = admin.reads.standings.get(PROBED).await;
    metrics::database(standings.is_ok());
    // What the process itself knows is worth having, above all when the database is away; and what was known is still true.
    let known = standings.or_else(|error| {
        tracing::warn!(%error, "the metrics are without news of the warehouse");
        admin.reads.standings.last().ok_or(error)
    });
    if let Ok(known) = known {
        let Standings {
            resources,
            jobs,
            inboxes,
            automations,
        } = &*known;
        metrics::automations(&accounts, automations);
        metrics::inboxes(&accounts, inboxes, admin.clock.now());
        let standings = resources.iter().filter(|row| accounts.contains(&row.account));
        let jobs = jobs.iter().filter(|job| accounts.contains(&job.account));
        metrics::standing(standings, jobs, admin.clock.now());
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        exporter.render(&accounts, &connectors),
    )
        .into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    if let Some(problem) = admin
        .schedules
        .as_ref()
        .and_then(|schedules| problem(schedules, &admin.clock))
    {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("schedules are not kept: {problem}\n"),
        )
            .into_response();
    }
    match admin.reads.current.get(PROBED).await.as_deref() {
        Ok(true) => "ready\n".into_response(),
        Ok(false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the warehouse's tables are not those of this version\n",
        )
            .into_response(),
        Err(error) => unavailable(error),
    }
}

fn problem(schedules: &Schedules, clock: &SharedClock) -> Option<String> {
    let health = schedules.health.borrow();
    if let Some(problem) = &health.problem {
        return Some(problem.clone());
    }
    match health.looked_at {
        None => Some("the daemon is starting".to_owned()),
        Some(at) if clock.monotonic().saturating_sub(at) > STUCK => Some("the scheduler is stuck".to_owned()),
        Some(_) => None,
    }
}

async fn report(admin: &Admin) -> Result<StatusReport, Problem> {
    let gathered = admin.reads.gathered.get(PATIENCE).await?;
    let settings = admin.settings.borrow().clone();
    let known = Known {
        accounts: &settings.accounts,
        plans: &settings.plans,
        stale_after: settings.stale_after,
        problem: admin.schedules.as_ref().and_then(|schedules| {
            let is_starting = *schedules.health.borrow() == Health::default();
            problem(schedules, &admin.clock).filter(|_| !is_starting)
        }),
    };
    Ok(StatusReport::of(Gathered::clone(&gathered), &known))
}

fn refused(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

fn unavailable(error: &dyn std::error::Error) -> Response {
    tracing::warn!(%error, "the status page cannot be shown");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}
