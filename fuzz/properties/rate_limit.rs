//! What a server says of its rate limit, answer after answer, to the client and its budget.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allai_sync::allai::{Budget, Client, Limits, ListQuery, RetryPolicy, Transport, TransportError};
use allai_sync::clock::{Clock as _, VirtualClock};
use bytes::Bytes;
use chrono::DateTime;
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// No window is waited for longer than an hour and what its end may have been rounded, no refusal longer than two minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(3600 + 120 + 30);
/// No input needs more answers.
const MOST_ANSWERS: usize = 64;

/// An answer as the input describes it.
struct Answer {
    status: StatusCode,
    /// How long it takes.
    takes: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Whatever a server states, no wait is longer than a window can be, and every request is sent in the end.
///
/// The input is a dialogue: for each answer a line with its status and the milliseconds it takes, lines with its headers, and
/// an empty line. A status of 0 is a connection that breaks.
pub(crate) fn hold(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let answers: Vec<Answer> = text.split("\n\n").filter_map(Answer::read).take(MOST_ANSWERS).collect();
    let strict = Limits {
        ceiling_per_minute: Some(1000),
        reserve: 0.2,
        ..Limits::default()
    };
    for limits in [Limits::default(), strict] {
        dialogue(limits, &answers);
    }
}

fn dialogue(limits: Limits, answers: &[Answer]) {
    let clock = VirtualClock::new(DateTime::from_timestamp(1_768_818_600, 0).expect("a time"));
    let budget = Arc::new(Budget::new(limits, clock.shared()).seeded(7));
    let arrivals = Arc::new(Mutex::new(vec![clock.monotonic()]));
    let script: VecDeque<_> = answers.iter().map(Answer::response).collect();
    let client = client(&clock, &budget, &arrivals, script);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for _ in answers {
            // What is asked for does not matter, nor what comes of it.
            let _ = client.list_contacts(&ListQuery::default()).await;
            let _ = (budget.snapshot(), budget.server_now());
        }
    });
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(arrivals.len() > answers.len(), "a request was never sent");
    for pair in arrivals.chunks(2) {
        // What an answer takes is not waited by choice; so the pairs are an answer's end and the next request.
        if let [answered, asked] = pair {
            let waited = asked.saturating_sub(*answered);
            assert!(waited <= LONGEST_WAIT, "waited {waited:?}");
        }
    }
}

/// A client whose server answers by the script, then with plain empty lists, and notes when each request came and when its
/// answer was ready.
fn client(
    clock: &VirtualClock,
    budget: &Arc<Budget>,
    arrivals: &Arc<Mutex<Vec<Duration>>>,
    script: VecDeque<(Duration, Option<Response<Bytes>>)>,
) -> Client {
    let (script, notes, time) = (Mutex::new(script), Arc::clone(arrivals), clock.clone());
    let server = move |_| {
        let next = script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (takes, answer) = next.unwrap_or_else(|| (Duration::ZERO, Some(Response::new(Bytes::from_static(b"[]")))));
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(time.monotonic());
        time.advance(takes);
        notes.push(time.monotonic());
        let answer = answer.ok_or_else(|| TransportError::Interrupted("reset".to_owned()));
        Box::pin(std::future::ready(answer)) as _
    };
    let retry = RetryPolicy {
        attempts: 2,
        rate_limited_attempts: 2,
        seed: Some(7),
        ..RetryPolicy::default()
    };
    Client::builder("https://api.allai.ro/v2".parse().expect("a URL"), "key".into())
        .clock(clock.shared())
        .budget(Arc::clone(budget))
        .retry(retry)
        .transport(Transport::InProcess(Arc::new(server)))
        .build()
        .expect("a client")
}

impl Answer {
    fn read(block: &str) -> Option<Self> {
        let mut lines = block.lines();
        let (status, takes) = lines.next()?.split_once(' ').unwrap_or(("200", "0"));
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
        });
        Some(Self {
            status: status
                .parse()
                .ok()
                .or_else(|| (status == "0").then_some(StatusCode::CONTINUE))?,
            // A day is longer than any window.
            takes: Duration::from_millis(takes.trim().parse::<u64>().unwrap_or_default().min(86_400_000)),
            headers: headers.collect(),
        })
    }

    /// What the server does: an answer, or none.
    fn response(&self) -> (Duration, Option<Response<Bytes>>) {
        if self.status == StatusCode::CONTINUE {
            return (self.takes, None);
        }
        let mut response = Response::new(Bytes::from_static(b"[]"));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        (self.takes, Some(response))
    }
}
