//! Sends signed webhooks, or asks for something, over many connections, as fast as is answered, and says how it went.
//!
//! Prints one JSON object: answers by status, accepted events a second, and what the answers took (milliseconds, the median,
//! the 99th percentile and the longest).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use allai_sync::allai::signature;
use allai_sync::clock::{SharedClock, SystemClock};
use clap::Parser;
use secrecy::SecretString;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Sends webhooks to a receiver, or GETs what is listed
#[derive(Parser, Debug)]
struct Options {
    /// Where they are received, e.g. 127.0.0.1:8780
    address: SocketAddr,
    /// The path, e.g. /webhooks/allai/main; with --get, a file with a path in each line, which are asked for in turn
    path: String,
    /// GET the paths of a file rather than POST webhooks
    #[arg(long)]
    get: bool,
    /// After so many requests in all there are no more, whatever the time
    #[arg(long)]
    requests: Option<usize>,
    /// What they are signed with
    #[arg(long, default_value = "secret")]
    secret: String,
    /// Connections, each with one event at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// For how long, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Bytes of a body, about
    #[arg(long, default_value_t = 600)]
    bytes: usize,
    /// What the events' keys begin with
    #[arg(long, default_value = "load")]
    prefix: String,
}

#[expect(clippy::print_stdout, reason = "its one line is what it is run for")]
fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let said = runtime.block_on(LocalSet::new().run_until(load(options)));
    println!("{said}");
}

async fn load(options: Options) -> serde_json::Value {
    let clock = SystemClock::shared();
    let paths = if options.get {
        let text = std::fs::read_to_string(&options.path).expect("a file of paths");
        text.lines().map(str::to_owned).collect()
    } else {
        vec![options.path.clone()]
    };
    let options = Rc::new(options);
    let work = Rc::new(Work {
        paths,
        sent: Cell::new(0),
    });
    let since = clock.monotonic();
    let tasks: Vec<_> = (0..options.connections)
        .map(|number| {
            let (options, work, clock) = (Rc::clone(&options), Rc::clone(&work), SharedClock::clone(&clock));
            tokio::task::spawn_local(connection(options, work, clock, number))
        })
        .collect();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    let mut took = Vec::new();
    for task in tasks {
        for (status, time) in task.await.expect("a connection") {
            *statuses.entry(status).or_default() += 1;
            took.push(time);
        }
    }
    let seconds = clock.monotonic().saturating_sub(since).as_secs_f64();
    took.sort_unstable();
    let milliseconds = |share: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let at = (took.len() as f64 * share) as usize;
        took.get(at.min(took.len().saturating_sub(1)))
            .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    };
    let accepted = statuses.get(&200).copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = accepted as f64 / seconds;
    let answered = took.len();
    json!({
        "statuses": statuses, "answered": answered, "accepted": accepted, "seconds": seconds, "accepted_per_second": rate,
        "p50_ms": milliseconds(0.5), "p99_ms": milliseconds(0.99), "max_ms": milliseconds(1.0),
    })
}

/// What is to be done by all connections together.
struct Work {
    paths: Vec<String>,
    sent: Cell<usize>,
}

/// Sends one request after the other. Status 0 is a connection that broke; another one is made.
async fn connection(options: Rc<Options>, work: Rc<Work>, clock: SharedClock, number: usize) -> Vec<(u16, Duration)> {
    let until = clock.monotonic() + Duration::from_secs(options.seconds);
    let secret = SecretString::from(options.secret.as_str());
    let filler = "x".repeat(options.bytes.saturating_sub(100));
    let mut answers = Vec::new();
    let mut stream = None;
    while clock.monotonic() < until && options.requests.is_none_or(|most| work.sent.get() < most) {
        let path = &work.paths[work.sent.get() % work.paths.len()];
        work.sent.set(work.sent.get() + 1);
        let id = format!("{}-{number}-{}", options.prefix, answers.len());
        let body = format!(r#"{{"id":"{id}","event":"ticket.opened","data":{{"text":"{filler}"}}}}"#);
        let request = if options.get {
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n")
        } else {
            format!(
                "POST {path} HTTP/1.1\r\nhost: bench\r\nx-allai-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
                signature::sign(&secret, body.as_bytes()),
                body.len()
            )
        };
        let asked = clock.monotonic();
        let mut conn = match stream.take() {
            Some(conn) => conn,
            None => TcpStream::connect(options.address).await.expect("a receiver"),
        };
        conn.set_nodelay(true).ok();
        let status = ask(&mut conn, request.as_bytes()).await;
        if status.is_some() {
            stream = Some(conn);
        }
        answers.push((status.unwrap_or(0), clock.monotonic().saturating_sub(asked)));
    }
    answers
}

/// Sends a request and reads its answer, which has a length.
async fn ask(conn: &mut TcpStream, request: &[u8]) -> Option<u16> {
    conn.write_all(request).await.ok()?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if conn.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        })?;
        if body.len() >= length {
            return head.get(9..12)?.parse().ok();
        }
    }
}
