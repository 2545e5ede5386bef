use std::collections::VecDeque;
use std::future::pending;
use std::sync::Mutex;

use futures_util::FutureExt;
use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::allai::logged::Logged;
use crate::allai::{ContactDetails, InProcess, NewMessage, NewSession, NewWebhook};
use crate::clock::VirtualClock;

/// What the scripted server does with a request.
#[derive(Clone)]
enum Reply {
    Status(u16, &'static str),
    RetryAfter(u16, &'static str),
    Redirect(u16, &'static str),
    Fail(TransportError),
    Silence,
}

use Reply::{Fail, Redirect, RetryAfter, Silence, Status};

/// A server that plays a script and notes the requests; when the script is over it answers 500.
#[derive(Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Script {
    fn client(replies: &[Reply]) -> (Client, Self, VirtualClock) {
        let script = Self::default();
        script.replies.lock().unwrap().extend(replies.iter().cloned());
        let clock = VirtualClock::new(DateTime::from_timestamp(1_768_818_600, 0).unwrap());
        let policy = RetryPolicy {
            seed: Some(1),
            ..RetryPolicy::default()
        };
        let budget = Budget::new(Limits::default(), clock.shared()).seeded(1);
        let client = Client::builder("https://api.allai.ro/v2".parse().unwrap(), "sk_secret".into())
            .transport(Transport::InProcess(script.server()))
            .clock(clock.shared())
            .budget(Arc::new(budget))
            .retry(policy)
            .build()
            .unwrap();
        (client, script, clock)
    }

    fn server(&self) -> InProcess {
        let script = self.clone();
        Arc::new(move |request| {
            script.requests.lock().unwrap().push(request);
            let reply = script.replies.lock().unwrap().pop_front().unwrap_or(Status(500, ""));
            let response = |status: u16, body: &'static str| {
                let mut response = Response::new(Bytes::from_static(body.as_bytes()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            };
            let outcome = match reply {
                Status(status, body) => Ok(response(status, body)),
                RetryAfter(status, after) => Ok(with(response(status, "{}"), "retry-after", after)),
                Redirect(status, location) => Ok(with(response(status, ""), "location", location)),
                Fail(error) => Err(error),
                Silence => return pending().boxed(),
            };
            async move { outcome }.boxed()
        })
    }

    fn sent(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|request| format!("{} {}", request.method(), request.uri().path_and_query().unwrap()))
            .collect()
    }
}

fn with(mut response: Response<Bytes>, header: &'static str, value: &'static str) -> Response<Bytes> {
    response.headers_mut().insert(header, HeaderValue::from_static(value));
    response
}

fn counters(requests: u64, retries: u64, rate_limited: u64) -> Counters {
    Counters {
        requests,
        retries,
        rate_limited,
    }
}

fn broken() -> Reply {
    Fail(TransportError::Interrupted("connection reset".to_owned()))
}

#[tokio::test]
async fn a_list_survives_every_passing_trouble() {
    let (client, script, _) = Script::client(&[
        Status(500, "{}"),
        broken(),
        Fail(TransportError::Timeout),
        Fail(TransportError::Connect("refused".to_owned())),
        Status(200, r#"{"data":[{"id":"#),
        Status(200, "<html>maintenance</html>"),
        Status(200, r#"{"error":"busy"}"#),
        Status(200, r#"{"data":[{"id":1}]}"#),
    ]);
    let page = client.list(&Listing::Contacts, &ListQuery::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(client.counters(), counters(8, 7, 0));
    assert_eq!(script.sent()[7], "GET /v2/contacts?offset=0");
}

#[tokio::test]
async fn it_gives_up_after_the_attempts_of_the_policy() {
    let (client, script, _) = Script::client(&[]);
    let error = client
        .list(&Listing::Contacts, &ListQuery::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Server { attempts: 8, .. }), "{error}");
    assert_eq!(script.sent().len(), 8);
}

#[tokio::test]
async fn what_will_not_change_is_not_asked_again() {
    for (status, stops, missing) in [
        (400, false, false),
        (401, true, false),
        (403, true, false),
        (404, false, true),
        (410, false, true),
        (422, false, false),
    ] {
        let (client, script, _) = Script::client(&[Status(status, r#"{"error":{"message":"no, sk_secret"}}"#)]);
        let error = client
            .list(&Listing::Contacts, &ListQuery::default())
            .await
            .unwrap_err();
        assert_eq!(script.sent().len(), 1, "{status}");
        assert_eq!(
            (error.stops_account(), error.is_not_found()),
            (stops, missing),
            "{status}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&format!("{status}")) && text.contains("no, [key]"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn refusals_for_the_rate_limit_are_waited_out_and_do_not_count_as_failures() {
    let mut replies = vec![RetryAfter(429, "3"); 9];
    replies.push(Status(200, "[]"));
    let (client, script, clock) = Script::client(&replies);
    client.list(&Listing::Contacts, &ListQuery::default()).await.unwrap();
    assert_eq!(client.counters(), counters(10, 9, 9));
    assert_eq!(script.sent().len(), 10);
    assert!(clock.shared().monotonic() >= Duration::from_secs(27));

    let (client, _, _) = Script::client(&vec![RetryAfter(429, "0"); 99]);
    let error = client
        .list(&Listing::Contacts, &ListQuery::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::RateLimited { attempts: 10, .. }), "{error}");
}

#[tokio::test]
async fn a_busy_server_is_left_alone_as_long_as_it_asks() {
    let (client, _, clock) = Script::client(&[
        RetryAfter(503, "40"),
        RetryAfter(503, "Mon, 19 Jan 2026 10:32:30 GMT"),
        Status(200, "[]"),
    ]);
    client.list(&Listing::Contacts, &ListQuery::default()).await.unwrap();
    let waited = clock.shared().monotonic().as_secs();
    assert!((150..=152).contains(&waited), "{waited}");
}

#[tokio::test]
async fn who_asks_for_more_than_two_minutes_is_not_waited_for() {
    for (status, after, shown) in [
        (503, "3600", "60 min"),
        (503, "Mon, 19 Jan 2026 11:15:00 GMT", "45 min"),
        (503, "121", "3 min"),
        (502, "300", "5 min"),
        (429, "86400", "24 h"),
        (429, "1209600", "14 days"),
    ] {
        let (client, script, clock) = Script::client(&[RetryAfter(status, after), Status(200, "[]")]);
        let query = ListQuery::default();
        let error = client.list_contacts(&query).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!(
                "the API asks to come back in {shown} (Retry-After); the next sync goes on from here"
            )),
            "{text}"
        );
        assert_eq!((script.sent().len(), clock.shared().monotonic()), (1, Duration::ZERO));
        assert_eq!(client.counters(), counters(1, 0, u64::from(status == 429)));
        assert!(!error.stops_account());
        // Others, if they were refused too, come back in two minutes at most.
        client.list_contacts(&query).await.unwrap();
        let waited = clock.shared().monotonic();
        assert!(
            waited <= Duration::from_mins(if status == 429 { 2 } else { 0 }),
            "{waited:?}"
        );
    }
}

#[tokio::test]
async fn who_has_little_patience_gives_up_early() {
    let patience = Patience {
        answer: Duration::from_secs(10),
        attempts: 3,
    };
    let asked = async |replies: &[Reply]| {
        let (client, script, clock) = Script::client(replies);
        let client = client.with_patience(patience);
        let error = client.list_contacts(&ListQuery::default()).await.unwrap_err();
        (error, script.sent().len(), clock.shared().monotonic())
    };
    let (error, requests, took) = asked(&[Silence]).await;
    assert!(
        matches!(
            error,
            Error::Transport {
                source: TransportError::Timeout,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!((requests, took), (1, patience.answer));
    let (error, requests, took) = asked(&[RetryAfter(503, "11")]).await;
    assert!(matches!(error, Error::Postponed { .. }), "{error}");
    assert_eq!((requests, took), (1, Duration::ZERO));
    let (error, requests, took) = asked(&[]).await;
    assert!(matches!(error, Error::Server { .. }), "{error}");
    assert!(requests == 3 && took < patience.answer, "{requests}, {took:?}");
    // What the rate limit asks for is for everybody, and waited for.
    let (_, requests, took) = asked(&[RetryAfter(429, "20"), Silence]).await;
    assert!(requests == 2 && took >= Duration::from_secs(30), "{requests}, {took:?}");
}

#[tokio::test]
async fn a_long_wait_is_told_of_once_and_a_short_one_is_not() {
    let (client, _, _) = Script::client(&[
        RetryAfter(503, "40"),
        RetryAfter(503, "2"),
        RetryAfter(429, "100"),
        RetryAfter(429, "1"),
        Status(200, "[]"),
    ]);
    let logged = Logged::here();
    let query = ListQuery {
        search: Some("ion@exemplu.ro".to_owned()),
        ..ListQuery::default()
    };
    client.list(&Listing::Contacts, &query).await.unwrap();
    let lines = logged.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("http.wait_seconds=40 reason="), "{lines:#?}");
    assert!(lines[1].contains("http.wait_seconds=100 reason="), "{lines:#?}");
    let text = lines.concat();
    assert!(!text.contains("sk_secret") && !text.contains("ion"), "{text}");
}

#[tokio::test]
async fn nothing_is_created_twice() {
    let created = r#"{"data":{"id":"cont_1","name":"Maria"}}"#;
    for (first, attempts) in [
        (Status(500, "{}"), 1),
        (Status(503, "{}"), 1),
        (broken(), 1),
        (Fail(TransportError::Timeout), 1),
        (Status(201, "{\"id\":"), 1),
        (Fail(TransportError::Connect("refused".to_owned())), 2),
        (RetryAfter(503, "1"), 2),
        (RetryAfter(429, "1"), 2),
    ] {
        let (client, script, _) = Script::client(&[first, Status(201, created)]);
        let outcome = client.create_contact(&ContactDetails::default()).await;
        assert_eq!(script.sent().len(), attempts);
        assert_eq!(outcome.is_ok(), attempts == 2);
    }
    let (client, script, _) = Script::client(&[Status(500, "{}"), broken(), Status(200, created)]);
    client
        .update_contact("cont_1", &ContactDetails::default())
        .await
        .unwrap();
    assert_eq!(script.sent(), vec!["PUT /v2/contacts/cont_1"; 3]);
}

#[tokio::test]
async fn a_conversation_is_taken_out_of_its_envelope_or_is_not_there() {
    for body in [
        r#"{"id":"c","x":1}"#,
        r#"{"data":{"id":"c","x":1}}"#,
        r#"{"conversation":{"id":"c","x":1}}"#,
    ] {
        let (client, script, _) = Script::client(&[Status(200, body)]);
        let raw = client.conversation_raw("c", &["x".to_owned()]).await.unwrap().unwrap();
        assert_eq!(raw.get(), r#"{"id":"c","x":1}"#);
        assert_eq!(script.sent(), ["GET /v2/conversations/c?fields=id%2Cx"]);
    }
    for status in [404, 410] {
        let (client, _, _) = Script::client(&[Status(status, "{}"), Status(status, "{}")]);
        assert!(client.conversation_raw("c", &[]).await.unwrap().is_none());
        assert!(client.conversation("c").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn every_call_goes_where_the_guide_says() {
    let one = || {
        Status(
            200,
            r#"{"id":"x","session_token":"st_live_1","expires_at":"2026-01-19T15:30:00Z"}"#,
        )
    };
    let mut replies = vec![Status(200, r#"[{"id":"1"},{"id":null}]"#); 4];
    replies.extend([one(), one(), one(), one(), one(), one(), one(), one(), one(), one()]);
    let (client, script, _) = Script::client(&replies);
    let query = ListQuery {
        limit: 50,
        offset: 100,
        status: Some("active".to_owned()),
        ..ListQuery::default()
    };
    let page = client.list_conversations(&query).await.unwrap();
    assert_eq!((page.items.len(), page.rejected.len()), (1, 1));
    let query = ListQuery {
        search: Some("ion@exemplu.ro".to_owned()),
        ..ListQuery::default()
    };
    client.list_contacts(&query).await.unwrap();
    client.list_messages("c", &ListQuery::default()).await.unwrap();
    client.contact_conversations("p", &ListQuery::default()).await.unwrap();
    client
        .create_conversation(&crate::allai::NewConversation::default())
        .await
        .unwrap();
    client.close_conversation("c", Some("resolved_by_bot")).await.unwrap();
    client
        .send_message("c", &NewMessage::from_visitor("Bună"))
        .await
        .unwrap();
    client.create_contact(&ContactDetails::default()).await.unwrap();
    client.analytics_overview("30d").await.unwrap();
    client.analytics_conversations("30d", "day").await.unwrap();
    client.analytics_satisfaction("30d").await.unwrap();
    let webhook = NewWebhook {
        url: "https://example.ro/hook".parse().unwrap(),
        events: vec!["lead.created".to_owned()],
        secret: "hush".into(),
    };
    assert!(!format!("{:?}", client.create_webhook(&webhook).await.unwrap()).contains("session_token"));
    let session = client
        .session_token(&NewSession {
            chatbot_id: "cb".to_owned(),
            visitor_id: "v".to_owned(),
            expires_in: Duration::from_hours(1),
        })
        .await
        .unwrap();
    assert_eq!(session.session_token.expose_secret(), "st_live_1");
    assert_eq!(
        script.sent(),
        [
            "GET /v2/conversations?limit=50&offset=100&status=active",
            "GET /v2/contacts?offset=0&search=ion%40exemplu.ro",
            "GET /v2/conversations/c/messages?offset=0",
            "GET /v2/contacts/p/conversations?offset=0",
            "POST /v2/conversations",
            "PATCH /v2/conversations/c",
            "POST /v2/conversations/c/messages",
            "POST /v2/contacts",
            "GET /v2/analytics/overview?period=30d",
            "GET /v2/analytics/conversations?period=30d&granularity=day",
            "GET /v2/analytics/satisfaction?period=30d",
            "POST /v2/webhooks",
            "POST /v2/auth/session-token",
        ]
    );
    let requests = script.requests.lock().unwrap();
    assert_eq!(
        requests[5].body(),
        r#"{"status":"closed","resolution":"resolved_by_bot"}"#
    );
    assert_eq!(
        requests[6].body(),
        r#"{"content":"Bună","role":"visitor","type":"text"}"#
    );
    assert_eq!(
        requests[12].body(),
        r#"{"chatbot_id":"cb","visitor_id":"v","expires_in":3600}"#
    );
    let headers: &HeaderMap = requests[12].headers();
    assert_eq!(
        (requests[12].method(), &headers["authorization"]),
        (&Method::POST, &HeaderValue::from_static("Bearer sk_secret"))
    );
    assert_eq!(
        (&headers["accept"], &headers["content-type"]),
        (&headers["content-type"], &headers["accept"])
    );
    assert!(headers["user-agent"].to_str().unwrap().starts_with("allai-sync/"));
}

#[tokio::test]
async fn the_answer_of_the_bot_is_read_as_the_guide_shows_it() {
    let body = r#"{"visitor_message":{"id":"msg_001","content":"Hello"},
        "bot_response":{"id":"msg_002","content":"Hello!","confidence":0.94,"sources":["kb_15"]}}"#;
    let (client, _, _) = Script::client(&[Status(200, body)]);
    let sent = client
        .send_message("c", &NewMessage::from_visitor("Hello"))
        .await
        .unwrap();
    assert_eq!(sent.message.unwrap().id, "msg_001");
    let answer = sent.bot_response.unwrap();
    assert_eq!(
        (answer.id.as_str(), answer.confidence, answer.conversation_id.as_str()),
        ("msg_002", Some(0.94), "c")
    );
}

#[tokio::test]
async fn each_handle_counts_for_itself_and_shares_the_rest() {
    let (client, _, _) = Script::client(&[Status(200, "[]"), Status(200, "[]")]);
    let other = client.with_priority(Priority::Event);
    client.list(&Listing::Contacts, &ListQuery::default()).await.unwrap();
    assert_eq!(
        (client.counters(), other.counters()),
        (counters(1, 0, 0), counters(0, 0, 0))
    );
    other
        .clone()
        .list(&Listing::Contacts, &ListQuery::default())
        .await
        .unwrap();
    assert_eq!(other.counters(), counters(1, 0, 0));
    assert!(Arc::ptr_eq(client.budget(), other.budget()));
}

#[test]
fn a_call_may_be_spawned() {
    fn spawnable<T: Send + 'static>(_: &T) {}
    let (client, _, _) = Script::client(&[]);
    spawnable(&async move { client.list(&Listing::Contacts, &ListQuery::default()).await });
}

#[test]
fn the_key_is_never_shown() {
    let (client, _, _) = Script::client(&[]);
    assert!(!format!("{client:?}").contains("sk_secret"));
    for key in ["", " ", "a\nb"] {
        let error = Client::builder("https://api.allai.ro/v2".parse().unwrap(), key.into())
            .build()
            .unwrap_err();
        assert!(matches!(error, Error::ApiKey));
    }
}

/// A listener that answers each connection with the next of these texts, and closes it.
async fn raw_server(replies: Vec<String>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v2", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        for reply in replies {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(reply.as_bytes()).await;
        }
    });
    url
}

fn fast() -> RetryPolicy {
    RetryPolicy {
        base: Duration::from_millis(1),
        ..RetryPolicy::default()
    }
}

#[tokio::test]
async fn over_real_http_cut_answers_are_asked_for_again() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
    let url = raw_server(vec![
        String::new(),
        "HTTP/1.1 200 OK\r\n".to_owned(),
        format!("{head}9999\r\n\r\n[{{\"id\""),
        format!("{head}12\r\n\r\n[{{\"id\":\"a\"}}]"),
    ])
    .await;
    let client = Client::builder(url, "k".into()).retry(fast()).build().unwrap();
    let page = client.list_contacts(&ListQuery::default()).await.unwrap();
    assert_eq!(page.items[0].id, "a");
    assert_eq!(client.counters(), counters(4, 3, 0));
}

#[tokio::test]
async fn a_redirect_is_followed_nowhere_not_even_on_the_same_host() {
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: /v3/contacts?key=k\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let url = raw_server(vec![redirect.to_owned(); 3]).await;
    let host = url.origin().ascii_serialization();
    let client = Client::builder(url, "k".into()).retry(fast()).build().unwrap();
    let error = client.list_contacts(&ListQuery::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("GET /contacts: the API redirects to {host}…; correct base_url (302)")
    );
    assert_eq!(client.counters(), counters(1, 0, 0));
}

#[tokio::test]
async fn a_redirect_is_final_and_names_the_host_alone() {
    for (location, shown) in [
        (
            "https://api2.allai.ro/v2/contacts?key=sk_secret#x",
            "https://api2.allai.ro…",
        ),
        ("http://u:hunter2@other.example:8080/", "http://other.example:8080…"),
        ("//cdn.example/v2", "https://cdn.example…"),
        ("/v3/contacts", "https://api.allai.ro…"),
        ("javascript:alert(1)", "somewhere else"),
        ("https://", "somewhere else"),
        ("", "https://api.allai.ro…"),
    ] {
        for status in [301, 307, 308] {
            let (client, script, _) = Script::client(&[Redirect(status, location)]);
            let error = client.list_contacts(&ListQuery::default()).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("GET /contacts: the API redirects to {shown}; correct base_url ({status})")
            );
            assert_eq!(script.sent().len(), 1);
            assert!(!error.stops_account() && !error.is_not_found());
        }
    }
    let (client, _, _) = Script::client(&[Status(302, "")]);
    let error = client.list_contacts(&ListQuery::default()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("redirects to somewhere else; correct base_url (302)"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_says_how_to_ask_for_less() {
    let (client, script, _) = Script::client(&[Fail(TransportError::TooLarge)]);
    let error = client.list_contacts(&ListQuery::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET /contacts: the answer is larger than 64 MiB; set a smaller page_size, or name the members needed in fields"
    );
    assert_eq!(script.sent().len(), 1);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let client = Client::builder(url, "k".into()).retry(fast()).build().unwrap();
    let error = client.list_contacts(&ListQuery::default()).await.unwrap_err();
    let Error::Transport {
        source, attempts: 8, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(source.never_sent(), "{error}");
}
