//! The public listener, as AllAI and everybody else on the internet meets it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use allai_sync::allai::signature;
use allai_sync::clock::SystemClock;
use allai_sync::lifecycle::allow_many_files;
use allai_sync::sandbox::Options;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::daemon::{Daemon, until};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    what_is_signed_is_kept_once_and_what_is_not_is_refused,
    what_nothing_can_be_made_of_is_kept_as_dead,
    a_secret_is_replaced_without_losing_an_event,
    two_events_of_one_id_are_both_kept,
}

pub(crate) const SECRET: &str = "a-secret";

/// A daemon with a public listener, which syncs nothing by itself.
struct Site {
    mirror: Mirror,
    daemon: Daemon,
    address: SocketAddr,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
}

impl Site {
    async fn start(database: Database) -> Self {
        let mirror = Mirror::start(database, Options::for_tests(20, 5)).await;
        configure(&mirror, &format!("secret = \"{SECRET}\"\n"));
        let mut daemon = Daemon::start(&mirror).await;
        let address = receiver(&mut daemon).await;
        Self {
            mirror,
            daemon,
            address,
        }
    }

    async fn post(&self, body: &[u8], signature: Option<&str>) -> Answer {
        self.post_to("main", body, signature).await
    }

    async fn post_to(&self, account: &str, body: &[u8], signature: Option<&str>) -> Answer {
        ask(self.address, &request(account, body, signature)).await
    }

    async fn signed(&self, body: &[u8]) -> u16 {
        self.post(body, Some(&sign(SECRET, body))).await.status
    }

    /// How many requests the metrics say were answered with a status.
    async fn counted(&self, status: u16) -> u64 {
        let (_, text) = self.daemon.get("/metrics").await;
        let of_status = format!("allai_sync_webhook_requests_total{{status=\"{status}\"}} ");
        let counted = text.lines().find_map(|line| line.strip_prefix(&of_status));
        counted.map_or(0, |count| count.parse().unwrap())
    }

    /// The keys of the events that are kept, in order.
    async fn kept(&self) -> Vec<String> {
        let rows = self
            .mirror
            .database
            .rows("SELECT id FROM webhook_events ORDER BY id")
            .await;
        rows.iter().map(|row| row.text("id").to_owned()).collect()
    }
}

/// The account with this table `[accounts.main.webhook]`, and another; no job has a schedule that comes in a test.
fn configure(mirror: &Mirror, webhook: &str) {
    configure_with(mirror, webhook, "");
}

/// The same, with more at its end.
pub(crate) fn configure_with(mirror: &Mirror, webhook: &str, more: &str) {
    let seldom = "[jobs.contacts]\nschedule = \"@yearly\"\n[jobs.conversations]\nschedule = \"@yearly\"\n\
                  [jobs.messages]\nschedule = \"@yearly\"\n[jobs.analytics]\nschedule = \"@yearly\"\n";
    mirror.configure(&format!(
        "{}[accounts.main.webhook]\n{webhook}{}[accounts.other.webhook]\nsecret = \"the-other-secret\"\n{seldom}\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"sesame\"\n[webhooks]\nlisten = \"127.0.0.1:0\"\n{more}",
        mirror.account_config("main", ""),
        mirror.account_config("other", ""),
    ));
}

/// Where the daemon receives webhooks.
pub(crate) async fn receiver(daemon: &mut Daemon) -> SocketAddr {
    daemon.until_log("webhooks are received at ").await;
    let log = daemon.log();
    let (_, rest) = log.rsplit_once("webhooks are received at http://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// Posts a body to the main account; returns the answer's status.
pub(crate) async fn post(address: SocketAddr, body: &[u8], signature: &str) -> u16 {
    ask(address, &request("main", body, Some(signature))).await.status
}

fn sign(secret: &str, body: &[u8]) -> String {
    signature::sign(&secret.into(), body)
}

fn request(account: &str, body: &[u8], signature: Option<&str>) -> Vec<u8> {
    let signature = signature.map_or_else(String::new, |value| format!("X-AllAI-Signature: {value}\r\n"));
    let mut request = format!(
        "POST /webhooks/allai/{account} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{signature}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Sends a request, as far as it is taken, and reads the answer to its end.
async fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The listener may have heard enough before all is sent.
    stream.write_all(request).await.ok();
    answer(&mut stream).await
}

async fn answer(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let text = String::from_utf8_lossy(&answer);
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase(),
    }
}

pub(crate) fn event(id: &str) -> Vec<u8> {
    format!("{{\"id\":\"{id}\",\"event\":\"ticket.opened\",\"data\":{{\"n\":1}}}}").into_bytes()
}

async fn what_is_signed_is_kept_once_and_what_is_not_is_refused(database: Database) {
    let site = Site::start(database).await;
    let body = event("e1");
    let genuine = sign(SECRET, &body);
    let mut altered = body.clone();
    altered[10] ^= 1;
    for wrong in [
        None,
        Some(""),
        Some("sha256="),
        Some(&genuine[..62]),
        Some("zz"),
        Some(sign("another-secret", &body).as_str()),
        Some(sign("the-other-secret", &body).as_str()),
        Some(sign("", &body).as_str()),
    ] {
        assert_eq!(site.post(&body, wrong).await.status, 401, "{wrong:?}");
    }
    assert_eq!(site.post(&altered, Some(&genuine)).await.status, 401);
    assert_eq!(site.post_to("other", &body, Some(&genuine)).await.status, 401);
    assert_eq!(site.post_to("nobody", &body, Some(&genuine)).await.status, 404);
    let large = vec![b' '; 2 << 20];
    assert_eq!(site.post(&large, Some(&sign(SECRET, &large))).await.status, 413);
    assert_eq!((site.counted(413).await, site.counted(401).await), (1, 10));
    assert_eq!(site.kept().await, [""; 0]);

    for spelled in [genuine.clone(), genuine.to_uppercase(), format!("sha256={genuine}")] {
        assert_eq!(site.post(&body, Some(&spelled)).await.status, 200);
    }
    // The same event of another account is another event.
    let of_other = sign("the-other-secret", &body);
    assert_eq!(site.post_to("other", &body, Some(&of_other)).await.status, 200);
    assert_eq!(site.kept().await, ["e1", "e1"]);

    // Nothing else is served there.
    for (what, status) in [
        ("GET / HTTP/1.1", 404),
        ("GET /metrics HTTP/1.1", 404),
        ("GET /healthz HTTP/1.1", 404),
        ("GET /webhooks/allai/main HTTP/1.1", 405),
        ("POST /webhooks/allai/main/x HTTP/1.1", 404),
        ("POST /elsewhere HTTP/1.1\r\ncontent-length: 9999999", 404),
    ] {
        let request = format!("{what}\r\nhost: test\r\nconnection: close\r\n\r\n");
        assert_eq!(ask(site.address, request.as_bytes()).await.status, status, "{what}");
    }
    // Nor is it counted.
    assert_eq!((site.counted(413).await, site.counted(404).await), (1, 1));
    let log = site.daemon.log();
    assert!(
        log.contains("a webhook") && !log.contains(SECRET) && !log.contains(&genuine),
        "{log}"
    );
    site.daemon.stop().await.0.expect(0);
}

async fn what_nothing_can_be_made_of_is_kept_as_dead(database: Database) {
    let site = Site::start(database).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let inside = format!("{{\"event\":\"conversation.ended\",\"data\":{{\"deep\":{deep}}}}}");
    let bodies: [&[u8]; 8] = [
        b"",
        b"\xff\xfe",
        b"{\"event\":\"a\0b\"}",
        b"<html>",
        b"{\"event\":\"lead.created\"}",
        b"{\"id\":\"e\\u0000\",\"event\":\"lead\\u0000created\",\"data\":{\"id\":\"\\u0000\"}}",
        deep.as_bytes(),
        inside.as_bytes(),
    ];
    for body in bodies {
        assert_eq!(site.signed(body).await, 200, "{body:?}");
    }
    let rows = site
        .mirror
        .database
        .rows("SELECT status, last_error FROM webhook_events")
        .await;
    assert_eq!(rows.len(), bodies.len());
    for row in rows {
        assert_eq!(row.text("status"), "dead");
        assert!(row.text("last_error").len() > 10);
    }
    until("the status page tells of them", async || {
        let (_, page) = site.daemon.get("/").await;
        page.contains("Webhook events could not be applied") && page.contains("data-waiting=\"0\" data-dead=\"8\"")
    })
    .await;
    let (_, status) = site.daemon.get("/api/v1/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["inboxes"][0]["dead"], 8);
    assert_eq!(status["inboxes"][0]["dead_events"].as_array().unwrap().len(), 5);
    let (status, dead) = site.daemon.get("/api/v1/webhooks/main/events?limit=3").await;
    let dead: serde_json::Value = serde_json::from_str(&dead).unwrap();
    assert_eq!((status.as_u16(), dead["events"].as_array().unwrap().len()), (200, 3));
    let (status, why) = site.daemon.get("/api/v1/webhooks/nope/events").await;
    assert_eq!(status, 404);
    assert!(why.contains("no account \"nope\""), "{why}");
    let (status, why) = site.daemon.order("webhooks/nope/replay", Some("sesame")).await;
    assert_eq!(status, 404);
    assert!(why.contains("no account \"nope\""), "{why}");
    // What cannot be read is no more readable when it is tried again.
    let replay = "webhooks/main/replay";
    assert_eq!(site.daemon.order(replay, None).await.0, 401);
    let (status, replayed) = site.daemon.order(replay, Some("sesame")).await;
    assert_eq!((status.as_u16(), replayed.as_str()), (202, "{\"replayed\":8}"));
    until("they are dead again", async || {
        let dead = "SELECT id FROM webhook_events WHERE status = 'dead' AND attempts = 1";
        site.mirror.database.rows(dead).await.len() == 8
    })
    .await;
    until("it is an incident", async || {
        let incidents = "SELECT kind FROM incidents WHERE kind = 'events_dead' AND resolved_at IS NULL";
        site.mirror.database.rows(incidents).await.len() == 1
    })
    .await;
    site.daemon.stop().await.0.expect(0);
}

async fn a_secret_is_replaced_without_losing_an_event(database: Database) {
    let mut site = Site::start(database).await;
    let with = async |site: &Site, secret: &str, id: &str| {
        let body = event(id);
        site.post(&body, Some(&sign(secret, &body))).await.status
    };
    assert_eq!(with(&site, SECRET, "e1").await, 200);
    assert_eq!(with(&site, "b-secret", "e2").await, 401);
    configure(
        &site.mirror,
        &format!("secret = \"b-secret\"\nprevious_secret = \"{SECRET}\"\n"),
    );
    let (address, clock) = (site.address, SystemClock::shared());
    // Events come all the time, while the configuration is reloaded, signed with the one secret or the other.
    let load = tokio::spawn(async move {
        let mut answers = Vec::new();
        for n in 0..400 {
            let body = event(&format!("load{n}"));
            let answer = ask(address, &request("main", &body, Some(&sign(SECRET, &body)))).await;
            answers.push(answer.status);
            clock.sleep(Duration::from_millis(1)).await;
        }
        answers
    });
    site.daemon.reload().await;
    assert_eq!(with(&site, "b-secret", "e2").await, 200);
    assert_eq!(with(&site, SECRET, "e3").await, 200);
    let answers = load.await.unwrap();
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    configure(&site.mirror, "secret = \"b-secret\"\n");
    site.daemon.reload().await;
    assert_eq!(with(&site, SECRET, "e4").await, 401);
    assert_eq!(with(&site, "b-secret", "e5").await, 200);
    let kept = site.kept().await;
    assert_eq!(kept.iter().filter(|id| id.starts_with("load")).count(), 400);
    assert_eq!(kept[..4], ["e1", "e2", "e3", "e5"]);
    site.daemon.stop().await.0.expect(0);
}

async fn two_events_of_one_id_are_both_kept(database: Database) {
    let site = Site::start(database).await;
    let body = |members: &str| format!("{{\"id\":\"e1\",\"event\":\"ticket.opened\",{members}}}").into_bytes();
    let one = [
        r#""data":{"n":1,"at":"x"}"#,
        r#""data":{"n":1,"at":"x"}"#,
        // Delivered again.
        r#""data":{"at":"x", "n":1},"timestamp":"2026-01-19T10:30:00Z","attempt":2"#,
    ];
    for members in one {
        assert_eq!(site.signed(&body(members)).await, 200);
    }
    assert_eq!(site.kept().await, ["e1"]);
    for _ in 0..2 {
        assert_eq!(site.signed(&body(r#""data":{"n":2,"at":"x"}"#)).await, 200);
        assert_eq!(site.signed(&body(r#""data":{"n":1,"at":"y"}"#)).await, 200);
    }
    let kept = site.kept().await;
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().all(|id| id.starts_with("e1")), "{kept:?}");
    assert_eq!(site.signed(&body(one[0])).await, 200);
    assert_eq!(site.kept().await, kept);
    let log = site.daemon.log();
    assert!(log.contains("has the id of another"), "{log}");
    until("all are applied", async || {
        let done = "SELECT id FROM webhook_events WHERE status = 'done'";
        site.mirror.database.rows(done).await.len() == 3
    })
    .await;
    site.daemon.stop().await.0.expect(0);
}

/// A request of which only the beginning is sent; what comes back first.
async fn begin(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    String::from_utf8_lossy(&start[9..]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_can_be_refused_from_its_head_is_refused_before_its_body_comes() {
    let site = Site::start(Database::sqlite()).await;
    let signature = format!("x-allai-signature: {}\r\n", "0".repeat(64));
    for (line, signature, status) in [
        ("POST /elsewhere", signature.as_str(), "404"),
        ("POST /webhooks/allai/nobody", &signature, "404"),
        ("PUT /webhooks/allai/main", &signature, "405"),
        ("POST /webhooks/allai/main", "", "401"),
        ("POST /webhooks/allai/main", "x-allai-signature: sha256=00\r\n", "401"),
        ("POST /webhooks/allai/main", "x-allai-signature: secret\r\n", "401"),
        // This one could be right, and is waited for.
        ("POST /webhooks/allai/main", &signature, "408"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nhost: test\r\n{signature}content-length: 500000\r\n\r\n");
        assert_eq!(begin(site.address, &head).await, status, "{line} {signature}");
    }
    // Who sends all of it gets to see the answer as well.
    let large = vec![b'x'; 500_000];
    assert_eq!(site.post(&large, None).await.status, 401);
    assert_eq!(site.post(&large, Some("secret")).await.status, 401);
    site.daemon.stop().await.0.expect(0);
}

/// Begins bodies of this length from an address, and never ends them, until one is refused or there are this many.
async fn fill(site: &Site, from: Ipv4Addr, length: usize, most: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    let head = format!(
        "POST /webhooks/allai/main HTTP/1.1\r\nhost: test\r\nx-allai-signature: {}\r\ncontent-length: {length}\r\n\r\n",
        "0".repeat(64)
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + length - 1, b'x');
    for _ in 0..most {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(site.address).await.unwrap();
        if stream.write_all(&request).await.is_err() {
            break;
        }
        streams.push(stream);
    }
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_fills_the_room_for_bodies_keeps_no_genuine_event_out() {
    let site = Site::start(Database::sqlite()).await;
    let attacker = |number| Ipv4Addr::new(127, 0, 0, number);
    // One address takes no more than its share, …
    let of_one = [
        fill(&site, attacker(2), 1 << 20, 40).await,
        fill(&site, attacker(2), 100_000, 40).await,
        fill(&site, attacker(2), 10_000, 200).await,
    ];
    let large = format!(
        "{{\"id\":\"large\",\"event\":\"ticket.opened\",\"data\":\"{}\"}}",
        "x".repeat(500_000)
    );
    assert_eq!(site.signed(large.as_bytes()).await, 200);
    // … and many leave what small events need.
    let mut of_many = Vec::new();
    for number in 3..15 {
        of_many.push(fill(&site, attacker(number), 1 << 20, 5).await);
    }
    for n in 0..20 {
        assert_eq!(site.signed(&event(&format!("e{n}"))).await, 200, "{n}");
    }
    drop((of_one, of_many));
    site.daemon.stop().await.0.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn clients_that_dawdle_are_cut_off_and_keep_nobody_waiting() {
    allow_many_files();
    let site = Site::start(Database::sqlite()).await;
    let clock = SystemClock::shared();
    let since = clock.monotonic();
    let mut streams = Vec::new();
    // Many that say nothing, …
    for _ in 0..1_200 {
        streams.push(TcpStream::connect(site.address).await.unwrap());
    }
    // … one whose head comes a byte a second, and one whose body never ends.
    let mut dripping = TcpStream::connect(site.address).await.unwrap();
    let mut endless = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /webhooks/allai/main HTTP/1.1\r\nhost: test\r\nx-allai-signature: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0".repeat(64)
    );
    endless.write_all(head.as_bytes()).await.unwrap();
    let dripped = tokio::spawn({
        let clock = SystemClock::shared();
        async move {
            for byte in b"POST /webhooks/allai/main HTTP/1.1\r\n" {
                if dripping.write_all(&[*byte]).await.is_err() {
                    break;
                }
                let mut answer = [0; 16];
                let second = clock.sleep(Duration::from_secs(1));
                let read = std::pin::pin!(dripping.read(&mut answer));
                if let futures_util::future::Either::Left((Ok(0) | Err(_), _)) =
                    futures_util::future::select(read, second).await
                {
                    break;
                }
            }
            clock.monotonic()
        }
    });
    let begun = clock.monotonic();
    let chunks = async {
        loop {
            if endless.write_all(b"1\r\nx\r\n").await.is_err() {
                break;
            }
            clock.sleep(Duration::from_millis(200)).await;
        }
    };
    let served = async {
        for n in 0..20 {
            assert_eq!(site.signed(&event(&format!("e{n}"))).await, 200);
        }
        clock.monotonic()
    };
    let ((), served) = tokio::join!(chunks, served);
    assert!(served.saturating_sub(begun) < Duration::from_secs(5), "others waited");
    assert!(
        clock.monotonic().saturating_sub(begun) < Duration::from_secs(7),
        "the endless one went on"
    );
    let dripped = dripped.await.unwrap().saturating_sub(since);
    assert!(
        dripped < Duration::from_secs(9),
        "the dripping one went on for {dripped:?}"
    );
    assert_eq!(site.counted(408).await, 1);
    site.daemon.stop().await.0.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_event_that_cannot_be_stored_in_time_is_asked_for_again() {
    let site = Site::start(Database::sqlite()).await;
    let mut other = SqliteConnection::connect(&site.mirror.database.url()).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let body = event("e1");
    let clock = SystemClock::shared();
    let since = clock.monotonic();
    let answer = site.post(&body, Some(&sign(SECRET, &body))).await;
    let took = clock.monotonic().saturating_sub(since);
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 5"), "{answer:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    other.execute("COMMIT").await.unwrap();
    until("it is taken", async || site.signed(&body).await == 200).await;
    assert_eq!(site.kept().await, ["e1"]);
    site.daemon.stop().await.0.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_event_is_on_the_disk_before_it_is_answered() {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(20, 5)).await;
    configure(&mirror, &format!("secret = \"{SECRET}\"\n"));
    let trace = mirror.folder().join("trace");
    let calls = "trace=fdatasync,fsync,read,recvfrom,write,writev,sendto";
    let mut daemon = Daemon::under(&mirror, &["strace", "-D", "-f", "-s", "40", "-e", calls, "-o"], &trace);
    let address = receiver(&mut daemon).await;
    daemon.until_log("ready").await;
    for n in 0..5 {
        let body = event(&format!("e{n}"));
        let sent = request("main", &body, Some(&sign(SECRET, &body)));
        assert_eq!(ask(address, &sent).await.status, 200);
    }
    daemon.stop().await.0.expect(0);
    let answers = synced_answers(&trace);
    assert_eq!(answers, [true; 5], "{}", std::fs::read_to_string(&trace).unwrap());
}

/// For each answer 200 in a trace, whether the disk was waited for between the request's arrival and the answer.
fn synced_answers(trace: &Path) -> Vec<bool> {
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut answers, mut asked, mut synced) = (Vec::new(), false, false);
    for line in trace.lines() {
        // `fsync(7) = 0`, or `<... fdatasync resumed>) = 0` where the call was interrupted by another thread's.
        let is_sync = line.contains("fsync(") || line.contains("fsync resumed") || line.contains("fdatasync");
        let is_sent = line.contains("write") || line.contains("sendto");
        if line.contains("POST /webhooks/allai") {
            (asked, synced) = (true, false);
        } else if is_sync && line.ends_with("= 0") {
            synced = true;
        } else if is_sent && asked && line.contains("HTTP/1.1 200 OK") {
            answers.push(synced);
            asked = false;
        }
    }
    answers
}
