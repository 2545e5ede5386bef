//! Against a real listener.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server that answers each request, by its number (0, 1, …), with raw bytes; none close the connection unanswered.
struct Server {
    url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    head: String,
}

impl Server {
    async fn start(answer: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, all, number) = (Arc::new(answer), Arc::clone(&seen), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, all, number) = (Arc::clone(&answer), Arc::clone(&all), Arc::clone(&number));
                tokio::spawn(async move {
                    serve(stream, |head| {
                        let at = monotonic();
                        all.lock().unwrap().push(Seen { at, head });
                        answer(number.fetch_add(1, Ordering::SeqCst))
                    })
                    .await
                });
            }
        });
        Self { url, seen }
    }

    fn client(&self) -> ApiClientBuilder {
        ApiClient::builder("test", self.url.clone())
            .timeout(Duration::from_secs(2))
            .deadline(Duration::from_secs(5))
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request per connection.
async fn serve(mut stream: TcpStream, answer: impl FnOnce(String) -> Vec<u8>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    stream.write_all(&answer(head)).await?;
    stream.shutdown().await
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

fn read() -> Request {
    Request::new(Method::GET, "read things").path(["things"])
}

fn write() -> Request {
    Request::new(Method::POST, "create a thing")
        .path(["things"])
        .json(&json!({"name": "body-secret"}))
}

#[tokio::test]
async fn paths_and_queries_are_encoded_by_construction() {
    let server = Server::start(|_| answer(200, "", "{}")).await;
    let request = Request::new(Method::GET, "read")
        .path(["a/b ?#", "..", "ă", ""])
        .query("q", "a&b=c%\u{202e}");
    server.client().build().unwrap().send(&request).await.unwrap();
    let head = &server.seen()[0].head;
    assert!(
        head.starts_with("GET /base/a%2Fb%20%3F%23/%C4%83/?q=a%26b%3Dc%25%E2%80%AE HTTP/1.1\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn every_status_becomes_an_error_by_which_a_caller_decides() {
    for (status, wanted) in [
        (400, "Rejected"),
        (401, "Auth"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (405, "Unsupported"),
        (409, "Conflict"),
        (422, "Rejected"),
        (429, "RateLimited"),
        (500, "Transient"),
        (503, "Transient"),
    ] {
        let server = Server::start(move |_| answer(status, "", "{\"secret\": \"answer-secret\"}")).await;
        let client = server.client().attempts(2).build().unwrap();
        let error = client.send(&read()).await.unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(shown.starts_with(wanted), "{status}: {shown}");
        assert!(!shown.contains("answer-secret"), "{shown}");
        let expected = if error.is_worth_repeating() { 2 } else { 1 };
        assert_eq!(server.seen().len(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_write_is_repeated_only_if_it_was_surely_not_carried_out() {
    for (status, headers, again, may_have_happened) in [
        (500, "", false, Some(true)),
        (503, "", false, Some(true)),
        (503, "retry-after: 0\r\n", true, Some(false)),
        (429, "", true, None),
    ] {
        let server = Server::start(move |_| answer(status, headers, "")).await;
        let client = server.client().attempts(2).build().unwrap();
        let error = client.send(&write()).await.unwrap_err();
        assert_eq!(server.seen().len() == 2, again, "{status} {headers}");
        if let Error::Transient {
            may_have_happened: told,
            ..
        } = error
        {
            assert_eq!(Some(told), may_have_happened, "{status} {headers}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_repeated_for_reads_only() {
    let server = Server::start(|number| if number == 0 { Vec::new() } else { answer(200, "", "{}") }).await;
    let client = server.client().build().unwrap();
    client.send(&read()).await.unwrap();
    assert_eq!(server.seen().len(), 2);

    let server = Server::start(|_| Vec::new()).await;
    let error = server.client().build().unwrap().send(&write()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Transient {
                may_have_happened: true,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn who_is_not_there_has_not_done_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let client = ApiClient::builder("test", url)
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let error = client.send(&write()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Transient {
                may_have_happened: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("is not reached"), "{error}");
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let client = ApiClient::builder("test", url)
        .timeout(Duration::from_millis(200))
        .deadline(Duration::from_millis(700))
        .build()
        .unwrap();
    let since = monotonic();
    let error = client.send(&read()).await.unwrap_err();
    assert!(since.elapsed() < Duration::from_millis(1_500), "{:?}", since.elapsed());
    assert!(error.to_string().contains("does not answer within"), "{error}");
}

#[tokio::test]
async fn retry_after_is_waited_for_by_everybody_and_never_past_the_deadline() {
    let server = Server::start(|number| match number {
        0 => answer(429, "retry-after: 1\r\n", ""),
        _ => answer(200, "", "{}"),
    })
    .await;
    let client = server.client().build().unwrap();
    let (first, other) = (client.clone(), client.clone());
    let request = read();
    let later = async {
        // Begins while the first one waits.
        while server.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        sleep(Duration::from_millis(100)).await;
        other.send(&request).await
    };
    let (one, two) = tokio::join!(first.send(&request), later);
    one.unwrap();
    two.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for again in &seen[1..] {
        assert!(again.at - seen[0].at >= Duration::from_millis(990), "{seen:?}");
    }

    let server = Server::start(|_| answer(429, "retry-after: 600\r\n", "")).await;
    let client = server.client().build().unwrap();
    for _ in 0..2 {
        let since = monotonic();
        let error = client.send(&read()).await.unwrap_err();
        let Error::RateLimited {
            retry_after: Some(wait),
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(wait > Duration::from_secs(590), "{wait:?}");
        assert!(since.elapsed() < Duration::from_secs(1));
    }
    // The second call did not even ask.
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn who_is_blocked_asks_no_more_until_it_is_over() {
    let block = Block {
        statuses: &[403],
        words: &["blocat"],
        lasts: Duration::from_mins(10),
    };
    for (status, body) in [(429, ""), (403, "{\"errorText\": \"Cont BLOCAT temporar\"}")] {
        let server = Server::start(move |_| answer(status, "", body)).await;
        let client = server.client().block(block).build().unwrap();
        for _ in 0..3 {
            let error = client.send(&read()).await.unwrap_err();
            let Error::RateLimited {
                retry_after: Some(wait),
                ..
            } = error
            else {
                panic!("{error:?}");
            };
            assert!(wait > Duration::from_secs(590), "{wait:?}");
        }
        assert_eq!(server.seen().len(), 1, "{status}");
    }
    let server = Server::start(|_| answer(403, "", "no product Blocat")).await;
    let request = read().query("code", "BLOCAT");
    let error = server
        .client()
        .block(block)
        .build()
        .unwrap()
        .send(&request)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    for (status, body) in [(403, "{\"errorText\": \"no right\"}"), (401, "blocat")] {
        let server = Server::start(move |_| answer(status, "", body)).await;
        let error = server
            .client()
            .block(block)
            .build()
            .unwrap()
            .send(&read())
            .await
            .unwrap_err();
        assert!(!matches!(error, Error::RateLimited { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn forms_are_encoded_by_construction() {
    let server = Server::start(|_| answer(200, "", "{}")).await;
    let request = Request::new(Method::POST, "log in").form(&[("name", "a&b=c"), ("key", "ă +%")]);
    server.client().build().unwrap().send(&request).await.unwrap();
    let head = &server.seen()[0].head;
    assert!(
        head.contains("content-type: application/x-www-form-urlencoded\r\n"),
        "{head}"
    );
    assert_eq!(request.body.as_deref(), Some(&b"name=a%26b%3Dc&key=%C4%83+%2B%25"[..]));
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    let now = DateTime::parse_from_rfc3339("2026-01-19T10:00:00Z").unwrap().to_utc();
    for (value, seconds) in [
        ("7", Some(7)),
        ("Mon, 19 Jan 2026 10:00:09 GMT", Some(9)),
        ("Mon, 19 Jan 2026 09:00:00 GMT", Some(0)),
        ("-1", None),
        ("soon", None),
    ] {
        assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
    }
}

#[tokio::test]
async fn no_period_holds_more_requests_than_allowed() {
    let server = Server::start(|_| answer(200, "", "{}")).await;
    let rate = Rate {
        requests: NonZeroU32::new(5).unwrap(),
        per: Duration::from_millis(500),
    };
    let client = server
        .client()
        .rate(rate)
        .concurrency(16)
        .deadline(Duration::from_secs(30))
        .build()
        .unwrap();
    let request = read();
    futures_util::future::try_join_all((0..16).map(|_| client.send(&request)))
        .await
        .unwrap();
    let mut times: Vec<Instant> = server.seen().iter().map(|seen| seen.at).collect();
    times.sort();
    assert_eq!(times.len(), 16);
    for window in times.windows(6) {
        assert!(window[5] - window[0] >= rate.per, "{:?}", window[5] - window[0]);
    }
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (Arc::clone(&now), Arc::clone(&most));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
            tokio::spawn(async move {
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut buffer = [0; 4096];
                assert!(stream.read(&mut buffer).await.is_ok());
                sleep(Duration::from_millis(50)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                stream.write_all(&answer(200, "", "{}")).await.ok();
                stream.shutdown().await.ok();
            });
        }
    });
    let client = ApiClient::builder("test", url).concurrency(2).build().unwrap();
    let request = read();
    futures_util::future::try_join_all((0..8).map(|_| client.send(&request)))
        .await
        .unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_page_or_broken_json_instead_of_an_answer_is_asked_for_again_and_not_quoted() {
    for body in [
        "<html>body-secret</html>",
        "{\"a\": \"body-secret",
        "",
        "\"body-secret\"",
    ] {
        let server = Server::start(move |_| answer(200, "content-type: text/html\r\n", body)).await;
        let client = server.client().attempts(2).build().unwrap();
        let error = client.json::<Vec<Value>>(&read(), "a list").await.unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("body-secret"));
        assert_eq!(server.seen().len(), 2);
    }
    let server = Server::start(|number| answer(200, "", if number == 0 { "<html>" } else { "[1]" })).await;
    let client = server.client().build().unwrap();
    assert_eq!(client.json::<Vec<u8>>(&read(), "a list").await.unwrap(), [1]);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let server = Server::start(|_| answer(200, "", &"x".repeat(10_000))).await;
    let client = server.client().max_body(9_999).build().unwrap();
    let error = client.send(&read()).await.unwrap_err();
    assert!(error.to_string().contains("larger than 9999 bytes"), "{error}");
    let client = server.client().max_body(10_000).build().unwrap();
    assert_eq!(client.send(&read()).await.unwrap().body.len(), 10_000);
}

#[tokio::test]
async fn redirects_are_told_of_and_not_followed() {
    let other = Server::start(|_| answer(200, "", "{}")).await;
    let location = format!("location: {}?token=header-secret\r\n", other.url);
    let server = Server::start(move |_| answer(302, &location, "")).await;
    let error = server.client().build().unwrap().send(&read()).await.unwrap_err();
    assert!(error.to_string().contains("redirects to http://127.0.0.1:"), "{error}");
    assert!(!error.to_string().contains("header-secret"), "{error}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn nothing_secret_is_in_errors_or_debug_output() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let client = ApiClient::builder("test", url).attempts(1).build().unwrap();
    let (name, value) = authorization("Basic", "user:header-secret");
    let request = write().query("key", "query-secret").header(name, value);
    let error = client.send(&request).await.unwrap_err();
    let shown = format!("{error:?} {error} {client:?} {request:?}");
    for secret in ["header-secret", "query-secret", "body-secret", "dXNlcjo"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn plain_http_reaches_only_what_is_near_unless_allowed() {
    let build = |url: &str, allow| {
        ApiClient::builder("test", url.parse().unwrap())
            .allow_http(allow)
            .build()
    };
    for near in [
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://10.1.2.3",
        "http://192.168.1.10:8069",
        "http://172.31.0.1",
        "http://[::1]:1",
        "http://[fd00::1]",
        "http://erp",
        "http://erp.local",
        "http://erp.firma.lan",
        "https://erp.example.com",
    ] {
        build(near, false).unwrap();
    }
    for far in [
        "http://erp.example.com",
        "http://8.8.8.8",
        "http://172.32.0.1",
        "http://[2001:db8::1]",
        "http://[::ffff:8.8.8.8]",
        "http://local.example.com",
    ] {
        assert!(
            build(far, false).unwrap_err().to_string().contains("allow_http"),
            "{far}"
        );
        build(far, true).unwrap();
    }
    for wrong in [
        "ftp://erp",
        "https://user:pw@erp.example.com",
        "https://erp.example.com/?a=b",
    ] {
        assert!(build(wrong, true).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_vendors_format_of_errors_says_more_than_the_status() {
    fn explain(refusal: &Refusal<'_>) -> Option<Error> {
        let body: Value = serde_json::from_slice(refusal.body).ok()?;
        match body["wait"].as_u64() {
            Some(wait) => Some(Error::RateLimited {
                system: "test",
                retry_after: Some(Duration::from_millis(wait)),
            }),
            None => Some(Error::Rejected {
                system: "test",
                field: body["field"].as_str().map(str::to_owned),
                message: refusal.doing.to_owned(),
            }),
        }
    }
    let server = Server::start(|number| match number {
        0 => answer(400, "", r#"{"field": "email"}"#),
        1 => answer(400, "", "no JSON"),
        2 => answer(403, "", r#"{"wait": 150}"#),
        _ => answer(200, "", "{}"),
    })
    .await;
    let client = server.client().explain(explain).build().unwrap();
    let error = client.send(&write()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), message, .. } if field == "email" && message == "create a thing"),
        "{error:?}"
    );
    let error = client.send(&write()).await.unwrap_err();
    assert!(matches!(&error, Error::Rejected { field: None, .. }), "{error:?}");
    // Who is to wait has done nothing yet, and waits.
    client.send(&write()).await.unwrap();
    let seen = server.seen();
    assert!(seen[3].at - seen[2].at >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_narrow_limit_holds_some_up_and_not_the_others() {
    let rate = |requests, per| Rate {
        requests: NonZeroU32::new(requests).unwrap(),
        per: Duration::from_millis(per),
    };
    let server = Server::start(|_| answer(200, "", "{}")).await;
    let client = server
        .client()
        .concurrency(1)
        .rate(rate(1_000, 100))
        .narrow(rate(2, 200))
        .build()
        .unwrap();
    let narrow = Request::new(Method::GET, "search").path(["narrow"]).narrow();
    let other = read();
    let began = monotonic();
    let searches = futures_util::future::join_all((0..5).map(|_| client.send(&narrow)));
    let others = async {
        futures_util::future::join_all((0..20).map(|_| client.send(&other))).await;
        began.elapsed()
    };
    let (searches, took) = tokio::join!(searches, others);
    assert!(searches.iter().all(Result::is_ok));
    assert!(took < Duration::from_millis(200), "{took:?}");
    let at: Vec<Instant> = server
        .seen()
        .iter()
        .filter(|seen| seen.head.contains("narrow"))
        .map(|seen| seen.at)
        .collect();
    assert_eq!(at.len(), 5);
    assert!(
        at.windows(3)
            .all(|three| three[2] - three[0] >= Duration::from_millis(200))
    );
}

#[tokio::test]
async fn what_costs_more_than_is_left_is_not_sent() {
    let server = Server::start(|_| answer(200, "", "{}")).await;
    let allowance = Allowance {
        units: 45,
        per: Duration::from_hours(24),
    };
    let client = server.client().allowance(allowance).build().unwrap();
    let search = read().cost(20);
    client.send(&search).await.unwrap();
    client.send(&search).await.unwrap();
    let error = client.send(&search).await.unwrap_err();
    assert!(
        matches!(&error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() > 86_000),
        "{error:?}"
    );
    client.send(&read().cost(5)).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}
