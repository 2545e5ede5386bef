//! What is answered while the database says nothing.

use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::Options;

use super::Page;
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::proxy::Proxy;

const WHY: &str = "the database does not answer";

/// The answer, and how many seconds it took.
async fn timed(page: &Page, path: &str) -> (u16, String, f64) {
    let clock = SystemClock::shared();
    let since = clock.monotonic();
    let (code, text) = page.get(path).await;
    (code, text, clock.monotonic().saturating_sub(since).as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_answer_comes_in_time_while_the_database_hangs() {
    let Database::Postgres { url, schema } = Database::postgres() else {
        unreachable!()
    };
    let proxy = Proxy::to(&url).await;
    let mirror = Mirror::start(
        Database::Postgres {
            url,
            schema: schema.clone(),
        },
        Options::for_tests(40, 4),
    )
    .await;
    mirror.sync().await;
    let page = Page::of(&Database::Postgres {
        url: proxy.url.clone(),
        schema,
    })
    .await;
    let (_, text) = page.get("/metrics").await;
    let contacts = "allai_sync_mirrored_rows{account=\"main\",resource=\"contacts\"} 40";
    assert!(
        text.contains("allai_sync_database_up 1") && text.contains(contacts),
        "{text}"
    );
    assert_eq!(page.get("/readyz").await, (200, "ready\n".to_owned()));

    proxy.set_silent(true);
    // What was read a moment ago is still shown for a moment.
    SystemClock::shared().sleep(Duration::from_secs(3)).await;
    let (health, ready, metrics, html, json, again) = tokio::join!(
        timed(&page, "/healthz"),
        timed(&page, "/readyz"),
        timed(&page, "/metrics"),
        timed(&page, "/"),
        timed(&page, "/api/v1/status"),
        timed(&page, "/api/v1/status"),
    );
    assert_eq!(health.0, 200);
    assert!(health.2 < 3.0, "{health:?}");
    assert!(ready.0 == 503 && ready.1.contains(WHY) && ready.2 < 5.0, "{ready:?}");
    assert!(metrics.0 == 200 && metrics.2 < 5.0, "{metrics:?}");
    let text = &metrics.1;
    assert!(
        text.contains("allai_sync_database_up 0") && text.contains(contacts),
        "{text}"
    );
    for shown in [html, json, again] {
        assert!(shown.0 == 503 && shown.1.contains(WHY) && shown.2 < 10.0, "{shown:?}");
    }

    proxy.set_silent(false);
    super::until("all is well", async || {
        page.get("/readyz").await.0 == 200 && page.get("/").await.0 == 200
    })
    .await;
    let (_, text) = page.get("/metrics").await;
    assert!(text.contains("allai_sync_database_up 1"), "{text}");
}
