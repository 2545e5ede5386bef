//! The API that the benchmarks read: contacts by limit and offset, at next to no cost.
//!
//! The sandbox lives: it renders, distorts and changes its rows, and costs more than what is to be measured. Here every
//! row is rendered before the first request, in the order of the list; a page is one copy of neighbouring bytes, and a
//! single thread answers. What it states of its rate limit is true, and what it says of itself at `/bench/stats` is
//! counted where the requests arrive, not where they are sent.

mod contacts;
mod window;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use allai_sync::clock::{SharedClock, SystemClock};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use contacts::{Contacts, Ids, Order};
use window::{Turn, Windows};

/// Rows of a page if the request does not say.
const USUAL_LIMIT: usize = 50;

/// Serves a list of contacts for benchmarks, until it is killed
#[derive(Parser, Debug)]
struct Options {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Contacts in the list; each takes about 450 bytes of memory
    #[arg(long, default_value_t = 200_000)]
    rows: u32,
    /// Order of the list
    #[arg(long, value_enum, default_value_t = Order::CreatedDesc)]
    order: Order,
    /// Whether ids grow with the time of creation
    #[arg(long, value_enum, default_value_t = Ids::Sequential)]
    ids: Ids,
    /// Requests allowed in a window
    #[arg(long, default_value_t = 60_000_000)]
    limit: u32,
    /// Length of a window in seconds; windows begin at its multiples
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Milliseconds that every answer is held back
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Seconds by which the server's clock is ahead of ours
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    skew: i64,
    /// Say nothing of the rate limit, except by 429
    #[arg(long)]
    no_rate_headers: bool,
    /// The most rows a page may have
    #[arg(long, default_value_t = 1000)]
    page_cap: usize,
}

/// Everything a request needs.
struct Api {
    options: Options,
    contacts: Contacts,
    clock: SharedClock,
    windows: RefCell<Windows>,
    counts: RefCell<Counts>,
}

/// What has arrived since the counts were last reset.
#[derive(Default, Clone, Copy, Serialize)]
struct Counts {
    requests: u64,
    refused: u64,
    rows: u64,
    body_bytes: u64,
}

/// What `/bench/stats` says.
#[derive(Serialize)]
struct Stats<'a> {
    #[serde(flatten)]
    counts: Counts,
    rows_listed: u32,
    row_bytes: usize,
    limit: u32,
    window_seconds: u32,
    windows: &'a [window::Count],
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let api = Rc::new(Api {
        contacts: Contacts::render(options.rows, options.order, options.ids),
        clock: SystemClock::shared(),
        windows: RefCell::new(Windows::new(options.limit, options.window)),
        counts: RefCell::default(),
        options,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(serve(api)))
}

async fn serve(api: Rc<Api>) -> std::io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, api.options.port))).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(connection(stream, Rc::clone(&api)));
    }
}

async fn connection(stream: TcpStream, api: Rc<Api>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request: Request<Incoming>| {
        let api = Rc::clone(&api);
        async move { Ok::<_, Infallible>(api.answer(&request).await) }
    });
    // A client that hangs up is no news.
    http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

type Answer = Response<Full<Bytes>>;

impl Api {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/v2/contacts") => self.list(request.uri().query().unwrap_or_default()).await,
            (&Method::GET, "/bench/stats") => self.stats(),
            (&Method::POST, "/bench/reset") => {
                self.windows.borrow_mut().forget();
                *self.counts.borrow_mut() = Counts::default();
                json(StatusCode::OK, "{}")
            }
            _ => json(StatusCode::NOT_FOUND, r#"{"error":{"message":"not found"}}"#),
        }
    }

    async fn list(&self, query: &str) -> Answer {
        // A request counts when it arrives, and its answer states what was true then.
        let arrived = self.clock.now() + TimeDelta::seconds(self.options.skew);
        let turn = self.windows.borrow_mut().enter(arrived.timestamp());
        if self.options.latency > 0 {
            self.clock.sleep(Duration::from_millis(self.options.latency)).await;
        }
        let mut answer = if turn.admitted {
            let body = self.page(query);
            self.count(|counts| counts.body_bytes += body.len() as u64);
            json(StatusCode::OK, body)
        } else {
            self.count(|counts| counts.refused += 1);
            json(
                StatusCode::TOO_MANY_REQUESTS,
                r#"{"error":{"message":"rate limit exceeded"}}"#,
            )
        };
        self.count(|counts| counts.requests += 1);
        self.state(&turn, arrived, &mut answer);
        answer
    }

    fn page(&self, query: &str) -> Bytes {
        let number = |name: &str| {
            let value = query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<usize>().ok())
        };
        let limit = number("limit").unwrap_or(USUAL_LIMIT).clamp(1, self.options.page_cap);
        let (body, rows) = self.contacts.page(number("offset").unwrap_or(0), limit);
        self.count(|counts| counts.rows += rows as u64);
        body
    }

    /// Puts the clock and the rate limit into the answer's headers.
    fn state(&self, turn: &Turn, arrived: DateTime<Utc>, answer: &mut Answer) {
        let headers = answer.headers_mut();
        let date = arrived.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.extend(HeaderValue::try_from(date).map(|date| (DATE, date)));
        if !turn.admitted {
            headers.insert(RETRY_AFTER, HeaderValue::from(turn.resets_at - arrived.timestamp()));
        }
        if !self.options.no_rate_headers {
            headers.insert("x-ratelimit-limit", HeaderValue::from(self.options.limit));
            headers.insert("x-ratelimit-remaining", HeaderValue::from(turn.remaining));
            headers.insert("x-ratelimit-reset", HeaderValue::from(turn.resets_at));
        }
    }

    fn stats(&self) -> Answer {
        let windows = self.windows.borrow();
        let stats = Stats {
            counts: *self.counts.borrow(),
            rows_listed: self.options.rows,
            row_bytes: self.contacts.row_bytes(),
            limit: self.options.limit,
            window_seconds: self.options.window,
            windows: windows.counts(),
        };
        json(StatusCode::OK, serde_json::to_vec(&stats).unwrap_or_default())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.borrow_mut());
    }
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
