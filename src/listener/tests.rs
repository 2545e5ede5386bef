use std::net::{IpAddr, Ipv4Addr};

use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;

/// Limits that nothing in these tests meets, unless it sets one lower.
const AMPLE: Limits = Limits {
    connections: 32,
    per_address: 32,
    head: Duration::from_mins(1),
    request: Duration::from_mins(1),
    taking: Duration::from_mins(1),
    body_bytes: 64,
    bodies_bytes: 1 << 20,
    closing: Duration::from_mins(1),
};
const SOON: Duration = Duration::from_millis(300);

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

struct Site {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Requests to `/slow` that a handler is at work for.
    at_work: mpsc::UnboundedReceiver<()>,
    /// Answers of `/much` that are out of the server's hands.
    gone: mpsc::UnboundedReceiver<()>,
}

/// Tells when nobody has it any more.
struct Much(Vec<u8>, mpsc::UnboundedSender<()>);

impl AsRef<[u8]> for Much {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Much {
    fn drop(&mut self) {
        self.1.send(()).ok();
    }
}

impl Site {
    async fn with(limits: Limits) -> Self {
        let (busy, at_work) = mpsc::unbounded_channel();
        let (dropped, gone) = mpsc::unbounded_channel();
        let clock = SystemClock::shared();
        let slow = Arc::clone(&clock);
        let router = Router::new()
            .route("/health", get(|| async { "ok\n" }))
            .route("/echo", post(async |body: Bytes| body))
            .route("/unread", post(async |body: Bytes| body.len().to_string()))
            .route(
                "/slow",
                get(move || {
                    busy.send(()).ok();
                    slow.sleep(Duration::from_secs(2))
                }),
            )
            .route(
                "/much",
                get(async move || Body::from(Bytes::from_owner(Much(vec![b'x'; 64 << 20], dropped)))),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let hooks = Hooks {
            wants_body: Box::new(|head| head.uri.path() != "/unread"),
            ..Hooks::default()
        };
        let task = tokio::spawn(serve(listener, router, limits, hooks, clock, stop.clone()));
        Self {
            address,
            stop,
            task,
            at_work,
            gone,
        }
    }

    /// A connection on which this was sent.
    async fn say(&self, text: &str) -> TcpStream {
        self.say_from(Ipv4Addr::LOCALHOST, text).await
    }

    async fn say_from(&self, from: Ipv4Addr, text: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::V4(from), 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, text: &str) -> String {
        end(&mut self.say(text).await).await
    }
}

/// What comes until the connection ends, which it must.
async fn end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    let ended = tokio::time::timeout(Duration::from_secs(20), reading).await;
    // A reset is an end too.
    ended.expect("the connection ends").ok();
    String::from_utf8(said).unwrap()
}

fn assert_is(answer: &str, status: u16, text: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, text);
}

#[tokio::test]
async fn a_head_is_not_waited_for_without_end_and_a_quiet_connection_is_closed() {
    let site = Site::with(Limits { head: SOON, ..AMPLE }).await;
    assert_eq!(site.ask("").await, "");
    assert_eq!(site.ask("GET /health HTT").await, "");
    let kept = site.ask(&HEALTH.replace("connection: close\r\n", "")).await;
    assert_is(&kept, 200, "ok\n");
}

/// Its sender gets to see why it is refused, rather than a connection that breaks.
#[tokio::test]
async fn a_body_far_too_large_is_read_and_thrown_away() {
    let site = Site::with(AMPLE).await;
    let length = 20_000_000;
    let head = format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
    let answer = site.ask(&(head + &"x".repeat(length))).await;
    assert_is(&answer, 413, "the body is longer than 64 bytes\n");
}

#[tokio::test]
async fn a_body_must_arrive_in_time_and_be_of_the_size_allowed() {
    let site = Site::with(Limits { request: SOON, ..AMPLE }).await;
    let send = async |length: usize, body: &str| {
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        site.ask(&(head + body)).await
    };
    assert_is(&send(64, &"x".repeat(64)).await, 200, &"x".repeat(64));
    assert_is(&send(64, "begun").await, 408, "the body did not arrive within 0.3 s\n");
    let too_large = "the body is longer than 64 bytes\n";
    assert_is(&send(65, &"x".repeat(65)).await, 413, too_large);
    assert_is(&send(500_000, &"x".repeat(500_000)).await, 413, too_large);
    assert_is(&send(usize::MAX / 4, "").await, 413, too_large);
    let asks_first = "POST /echo HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 65\r\n\r\n";
    assert_is(&site.ask(asks_first).await, 413, too_large);
    let chunked = "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n";
    assert_is(&site.ask(chunked).await, 400, "the body cannot be read\n");
}

#[tokio::test]
async fn where_the_head_says_enough_the_body_is_not_waited_for() {
    let site = Site::with(AMPLE).await;
    let head = "POST /unread HTTP/1.1\r\nhost: test\r\ncontent-length: 500000\r\n\r\n";
    for sent in [0, 1, 500_000] {
        let mut stream = site.say(&(head.to_owned() + &"x".repeat(sent))).await;
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK", "{sent}");
        // Nothing else is read on this connection, whatever it seems to be.
        stream.write_all(HEALTH.as_bytes()).await.ok();
        let rest = end(&mut stream).await;
        assert!(
            rest.contains("connection: close") && rest.ends_with("\r\n\r\n0"),
            "{rest}"
        );
    }
}

#[tokio::test]
async fn bodies_that_never_end_take_no_more_memory_than_there_is_and_keep_nobody_out() {
    let site = Site::with(Limits {
        body_bytes: 64 << 10,
        bodies_bytes: 2 << 20,
        ..AMPLE
    })
    .await;
    let of = |length: usize| {
        let head = "POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: ";
        format!("{head}{length}\r\n\r\n{}", "x".repeat(length))
    };
    let (large, small) = (of(60_000), of(16 << 10));
    let send = async |number, whole: &str| {
        let mut stream = site.say_from(Ipv4Addr::new(127, 0, 0, number), whole).await;
        end(&mut stream).await
    };
    let open = async |number| {
        let from = Ipv4Addr::new(127, 0, 0, number);
        site.say_from(from, &large[..large.len() - 1]).await
    };
    // Where there is no room any more, the sender is asked to come again.
    let until_refused = async |number| loop {
        let answer = send(number, &large).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            assert_is(&answer, 503, "too many large bodies are under way\n");
            assert!(answer.contains("retry-after: 5"), "{answer}");
            break;
        }
    };
    let mut begun = vec![open(2).await, open(2).await];
    until_refused(2).await;
    assert_is(&send(2, &small).await, 200, &"x".repeat(16 << 10));
    // That is its share; others have room, until there are as many of them.
    assert_is(&send(3, &large).await, 200, &"x".repeat(60_000));
    for number in 3..8 {
        begun.extend([open(number).await, open(number).await]);
    }
    until_refused(8).await;
    assert_is(&send(8, &small).await, 200, &"x".repeat(16 << 10));
    for stream in &mut begun {
        stream.write_all(b"x").await.unwrap();
        assert_is(&end(stream).await, 200, &"x".repeat(60_000));
    }
    assert_is(&send(8, &large).await, 200, &"x".repeat(60_000));
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_given_up() {
    let site = Site::with(Limits { request: SOON, ..AMPLE }).await;
    let answer = site
        .ask("GET /slow?secret=1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await;
    assert_is(&answer, 503, "GET /slow was given up after 0.3 s: it takes too long\n");
    assert_is(&site.ask(HEALTH).await, 200, "ok\n");
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_not_kept() {
    let mut site = Site::with(Limits { taking: SOON, ..AMPLE }).await;
    let mut stream = site.say("GET /much HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let gone = tokio::time::timeout(Duration::from_secs(20), site.gone.recv());
    gone.await.expect("it is dropped");
    assert!(end(&mut stream).await.len() < 64 << 20);
    // One that is taken may be as long as it likes.
    let much = site
        .ask("GET /much HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await;
    assert!(much.len() > 64 << 20);
}

#[tokio::test]
async fn slow_clients_make_room_for_those_who_have_something_to_say() {
    let site = Site::with(Limits {
        connections: 4,
        ..AMPLE
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..12 {
        slow.push(site.say("GET /health HTTP/1.1\r\n").await);
        assert_is(&site.ask(HEALTH).await, 200, "ok\n");
    }
    for stream in &mut slow[..9] {
        assert_eq!(end(stream).await, "");
    }
    // Those that came last may still go on.
    let last = slow.last_mut().unwrap();
    last.write_all(b"host: test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_is(&end(last).await, 200, "ok\n");
}

#[tokio::test]
async fn one_address_does_not_take_the_places_of_others() {
    let mut site = Site::with(Limits {
        per_address: 2,
        ..AMPLE
    })
    .await;
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let mut first = site.say("GET /health HTTP/1.1\r\n").await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(site.say_from(other, "GET /health HTTP/1.1\r\n").await);
    }
    for stream in &mut slow[..2] {
        assert_eq!(end(stream).await, "");
    }
    drop(slow);
    first
        .write_all(b"host: test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_is(&end(&mut first).await, 200, "ok\n");
    // What is being answered is not given up for another of the same address.
    let asked = "GET /slow HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let mut answered = [site.say_from(other, asked).await, site.say_from(other, asked).await];
    for _ in &answered {
        site.at_work.recv().await.unwrap();
    }
    assert_eq!(end(&mut site.say_from(other, HEALTH).await).await, "");
    assert_is(&site.ask(HEALTH).await, 200, "ok\n");
    for stream in &mut answered {
        assert_is(&end(stream).await, 200, "");
    }
}

#[tokio::test]
async fn where_all_are_being_answered_a_new_one_waits() {
    let mut site = Site::with(Limits {
        connections: 2,
        ..AMPLE
    })
    .await;
    let asked = "GET /slow HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut answered = [site.say(asked).await, site.say(asked).await];
    for _ in &answered {
        site.at_work.recv().await.unwrap();
    }
    assert_is(&site.ask(HEALTH).await, 200, "ok\n");
    for stream in &mut answered {
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_ends_in_time() {
    for (closing, is_answered) in [(AMPLE.closing, true), (SOON, false)] {
        let mut site = Site::with(Limits { closing, ..AMPLE }).await;
        let mut quiet = site.say("").await;
        assert_is(&site.ask(HEALTH).await, 200, "ok\n");
        let mut asked = site.say("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
        site.at_work.recv().await.unwrap();
        site.stop.cancel();
        assert_eq!(end(&mut quiet).await, "");
        let answer = end(&mut asked).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), is_answered, "{answer}");
        site.task.await.unwrap();
        assert!(TcpStream::connect(site.address).await.is_err());
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_costs_its_connection_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sent, received) = oneshot::channel::<()>();
    drop(sent);
    let received = Arc::new(tokio::sync::Mutex::new(Some(received)));
    let router = Router::new().route("/health", get(|| async { "ok\n" })).route(
        "/broken",
        get(async move || received.lock().await.take().unwrap().await.unwrap()),
    );
    let serving = serve(
        listener,
        router,
        AMPLE,
        Hooks::default(),
        SystemClock::shared(),
        CancellationToken::new(),
    );
    tokio::spawn(serving);
    for (path, answers) in [("/broken", false), ("/health", true)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = HEALTH.replace("/health", path);
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(end(&mut stream).await.starts_with("HTTP/1.1 200 "), answers);
    }
}
