//! Faults as a client sees them, and the rate limit with its headers.

use std::time::Duration;

use allai_sync::clock::VirtualClock;
use allai_sync::sandbox::{Broken, Options, RateHeaders, ResetFormat, RetryAfter, Sandbox, WindowKind};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;

use super::Caller;

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_768_818_610, 250_000_000).unwrap()
}

#[tokio::test]
async fn a_reset_is_an_error_and_leaves_the_server_up() {
    let caller = Caller::start(Options::for_tests(5, 0)).await;
    caller.sandbox.set_options(|options| options.faults.reset_rate = 1.0);
    assert!(caller.request(Method::GET, "contacts").send().await.is_err());
    caller.sandbox.set_options(|options| options.faults.reset_rate = 0.0);
    assert_eq!(caller.get("contacts").await.0, 200);
    assert_eq!(caller.sandbox.log()[0].fault, Some("reset"));
}

#[tokio::test]
async fn a_truncated_body_is_seen_as_broken() {
    let caller = Caller::start(Options::for_tests(20, 0)).await;
    caller.sandbox.set_options(|options| options.faults.truncate_rate = 1.0);
    for _ in 0..10 {
        let response = caller.request(Method::GET, "contacts").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.bytes().await.is_err());
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_client_gives_up() {
    let caller = Caller::start(Options::for_tests(20, 0)).await;
    caller.sandbox.set_options(|options| options.faults.stall_rate = 1.0);
    for _ in 0..4 {
        let request = caller
            .request(Method::GET, "contacts")
            .timeout(Duration::from_millis(50));
        let outcome = match request.send().await {
            Ok(response) => response.bytes().await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(outcome.unwrap_err().is_timeout());
    }
}

#[tokio::test]
async fn injected_errors_come_at_about_their_rate_and_repeat_with_the_seed() {
    let statuses = async || {
        let mut options = Options::for_tests(5, 0);
        (options.faults.error_rate, options.faults.invalid_body_rate) = (0.2, 0.1);
        let caller = Caller::start(options).await;
        let mut seen = Vec::new();
        for _ in 0..300 {
            let response = caller
                .request(Method::GET, "contacts?limit=1&fields=id")
                .send()
                .await
                .unwrap();
            let status = response.status().as_u16();
            seen.push((
                status,
                serde_json::from_str::<serde_json::Value>(&response.text().await.unwrap()).is_ok(),
            ));
        }
        seen
    };
    let first = statuses().await;
    let errors = first.iter().filter(|(status, _)| *status >= 500).count();
    assert!((35..=85).contains(&errors), "{errors} of 300");
    assert!(first.iter().any(|(status, json)| *status == 200 && !json));
    assert_eq!(first, statuses().await);
}

#[tokio::test]
async fn the_rate_limit_counts_exactly_and_says_so() {
    let mut options = Options::for_tests(5, 0);
    (options.limits.limit, options.limits.window_kind) = (10, WindowKind::FirstRequest);
    let clock = VirtualClock::new(start());
    let sandbox = Sandbox::start_with_clock(options, clock.shared()).await.unwrap();
    let caller = Caller::with(sandbox);
    let ask = async || caller.request(Method::GET, "contacts").send().await.unwrap();
    let header = |response: &reqwest::Response, name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    for left in (0..10).rev() {
        let response = ask().await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "x-ratelimit-limit").as_deref(), Some("10"));
        assert_eq!(header(&response, "x-ratelimit-remaining"), Some(left.to_string()));
        assert_eq!(header(&response, "x-ratelimit-reset").as_deref(), Some("1768818671"));
        assert_eq!(
            header(&response, "date").as_deref(),
            Some("Mon, 19 Jan 2026 10:30:10 GMT")
        );
    }
    let refused = ask().await;
    assert_eq!(
        (refused.status().as_u16(), header(&refused, "retry-after").as_deref()),
        (429, Some("60"))
    );
    clock.advance(Duration::from_mins(1));
    assert_eq!(ask().await.status(), 200);
    let stats = caller.sandbox.stats();
    assert_eq!(
        (stats.requests, stats.rate_limited, stats.most_in_a_window),
        (12, 1, 11)
    );
}

#[tokio::test]
async fn headers_take_every_form_the_switches_name() {
    let mut options = Options::for_tests(5, 0);
    options.limits.limit = 1;
    options.faults.clock_skew = TimeDelta::seconds(-90);
    let clock = VirtualClock::new(start());
    let sandbox = Sandbox::in_process(options, clock.shared());
    let call = sandbox.in_process_transport(Duration::from_secs(30));
    let ask = async || {
        let key = format!("Bearer {}", sandbox.keys().full);
        let request = http::Request::get("/v2/contacts")
            .header("authorization", key)
            .body(bytes::Bytes::new());
        call(request.unwrap()).await.unwrap()
    };
    let header = |response: &http::Response<bytes::Bytes>, name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let forms = [
        (ResetFormat::Epoch, "1768818540"),
        (ResetFormat::EpochMs, "1768818540000"),
        (ResetFormat::Delta, "20"),
        (ResetFormat::Fractional, "1768818540.000"),
    ];
    for (form, reset) in forms {
        sandbox.set_options(|options| options.limits.reset_format = form);
        let response = ask().await;
        assert_eq!(
            header(&response, "x-ratelimit-reset").as_deref(),
            Some(reset),
            "{form:?}"
        );
        assert_eq!(
            header(&response, "date").as_deref(),
            Some("Mon, 19 Jan 2026 10:28:40 GMT")
        );
    }
    sandbox.set_options(|options| options.limits.retry_after = RetryAfter::Date);
    assert_eq!(
        header(&ask().await, "retry-after").as_deref(),
        Some("Mon, 19 Jan 2026 10:29:00 GMT")
    );
    sandbox.set_options(|options| {
        options.limits.retry_after = RetryAfter::None;
        options.limits.rate_headers = RateHeaders::None;
        options.faults.no_date = true;
    });
    let bare = ask().await;
    for name in [
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "date",
    ] {
        assert_eq!(header(&bare, name), None, "{name}");
    }
}

#[tokio::test]
async fn latency_and_stalls_take_their_time_on_the_clock() {
    let mut options = Options::for_tests(5, 0);
    options.faults.latency = Duration::from_millis(500);
    let clock = VirtualClock::new(start());
    let shared = clock.shared();
    let sandbox = Sandbox::in_process(options, clock.shared());
    let call = sandbox.in_process_transport(Duration::from_secs(30));
    let request = || {
        let key = format!("Bearer {}", sandbox.keys().full);
        http::Request::get("/v2/contacts")
            .header("authorization", key)
            .body(bytes::Bytes::new())
            .unwrap()
    };
    call(request()).await.unwrap();
    assert_eq!(shared.monotonic(), Duration::from_millis(500));
    sandbox.set_options(|options| options.faults.stall_rate = 1.0);
    assert_eq!(call(request()).await.unwrap_err(), Broken::Stalled);
    assert_eq!(shared.monotonic(), Duration::from_secs(31));
}

#[tokio::test]
async fn the_limit_holds_when_requests_come_at_once() {
    let mut options = Options::for_tests(5, 0);
    (options.limits.limit, options.limits.window_kind) = (10, WindowKind::Sliding);
    let caller = Caller::start(options).await;
    let requests = (0..30).map(|_| async { caller.get("contacts").await.0 });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 20);
}

#[tokio::test]
async fn the_banner_says_where_and_with_which_key() {
    let caller = Caller::start(Options::for_tests(5, 0)).await;
    let (banner, keys) = (caller.sandbox.banner(), caller.sandbox.keys());
    let address = caller.sandbox.base_url().as_str().trim_end_matches('/');
    for part in [
        &keys.full,
        &keys.read,
        &keys.write,
        &keys.admin,
        address,
        "no rate limit",
    ] {
        assert!(banner.contains(part), "{part} in {banner}");
    }
}

#[tokio::test]
async fn lists_can_be_short_repetitive_or_empty() {
    let caller = Caller::start(Options::for_tests(50, 0)).await;
    let ids = caller.sandbox.account().contact_ids();
    caller
        .sandbox
        .set_options(|options| options.faults.short_page_rate = 1.0);
    let rows = caller.rows("contacts?limit=20").await;
    assert!(!rows.is_empty() && rows.len() < 20);
    assert!(rows.iter().zip(&ids).all(|(row, id)| row["id"] == **id));
    caller.sandbox.set_options(|options| {
        (options.faults.short_page_rate, options.faults.repeat_row_rate) = (0.0, 1.0);
    });
    let rows = caller.rows("contacts?limit=20").await;
    assert_eq!(rows.len(), 21);
    assert_eq!(rows.windows(2).filter(|pair| pair[0] == pair[1]).count(), 1);
    caller
        .sandbox
        .set_options(|options| options.faults.empty_list_rate = 1.0);
    assert_eq!(caller.get("contacts").await.1["total"], 0);
}
