//! The status page as a browser shows it, over a warehouse that was really synced.

use allai_sync::allai::Resource;
use allai_sync::clock::SystemClock;
use allai_sync::figures::grouped;
use allai_sync::sandbox::Options;
use allai_sync::warehouse::{Claim, Location, RunRecord, RunStatus, Warehouse};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Page;
use crate::support::browser::Browser;
use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};

/// What the page shows of each resource.
const ROWS: &str = "[...document.querySelectorAll('tbody tr')].map((row) => ({
    data: { ...row.dataset },
    shown: [...row.cells].map((cell) => cell.innerText),
    chart: row.querySelector('svg.chart title')?.textContent ?? '',
}))";

async fn synced() -> (Mirror, Page) {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(1_234, 20)).await;
    mirror.sync().await;
    let page = Page::of(&mirror.database).await;
    (mirror, page)
}

async fn warehouse(mirror: &Mirror) -> Warehouse {
    let location = Location {
        url: mirror.database.url(),
        schema: mirror.database.schema(),
    };
    Warehouse::open(&location, SystemClock::shared()).await.unwrap()
}

fn failed(account: &str, error: &str) -> RunRecord {
    let now = SystemClock::shared().now();
    RunRecord {
        account: account.to_owned(),
        resource: Resource::Contacts,
        status: RunStatus::Failed,
        verified: false,
        rows_seen: 0,
        inserted: 0,
        updated: 0,
        unchanged: 0,
        deleted: 0,
        restored: 0,
        quarantined: 0,
        requests: 1,
        retries: 0,
        rate_limited: 0,
        seconds: 0.2,
        error: Some(error.to_owned()),
        trigger: "test".to_owned(),
        started_at: now,
        finished_at: now,
    }
}

async fn claim_contacts(warehouse: &Warehouse) {
    let claim = Claim {
        account: ACCOUNT,
        resource: Resource::Contacts,
        holder: "run@web1:4711.1#0badcafe",
        lease: TimeDelta::minutes(10),
        fence: None,
        full: true,
        key_alone: false,
        instead_of: &[],
    };
    assert!(warehouse.claim_job(&claim).await.unwrap().is_some());
}

async fn status(page: &Page) -> Value {
    serde_json::from_str(&page.get("/api/v1/status").await.1).unwrap()
}

/// A row of the page, in what it says to programs and to people, is the JSON's.
fn assert_row(row: &Value, resource: &Value) {
    let data = &row["data"];
    let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(data["account"], resource["account"]);
    assert_eq!(data["resource"], resource["resource"]);
    assert_eq!(data["level"], resource["level"], "{resource}");
    assert_eq!(data["lastCompleteAt"], text("last_complete_at"));
    assert_eq!(data["lastVerifiedAt"], text("last_verified_at"));
    assert_eq!(data["quarantined"], resource["quarantined"].to_string());
    assert_eq!(
        data["holder"],
        resource["job"]["running"]["holder"].as_str().unwrap_or_default()
    );
    let outcome = |run: &Value| {
        let status = if run["verified"] == true {
            &json!("verified")
        } else {
            &run["status"]
        };
        status.as_str().unwrap().to_owned()
    };
    let outcomes: Vec<String> = resource["recent_runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(outcome)
        .collect();
    assert_eq!(data["outcomes"], outcomes.join(" "));
    assert_eq!(
        row["chart"] == "",
        outcomes.is_empty(),
        "a chart tells in words what it shows"
    );

    let shown = |cell: usize| row["shown"][cell].as_str().unwrap();
    assert!(shown(0).contains(resource["resource"].as_str().unwrap()), "{row}");
    assert!(shown(2).contains(&grouped(resource["rows"].as_u64().unwrap())), "{row}");
    assert_eq!(
        shown(1).contains("never"),
        resource["last_complete_at"].is_null(),
        "{row}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_page_shows_what_the_json_says() {
    let (mirror, page) = synced().await;
    let warehouse = warehouse(&mirror).await;
    claim_contacts(&warehouse).await;
    // A message that is not harmless, an account that should not exist, and a row without an id.
    let evil = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>";
    warehouse.finish_run(&failed(ACCOUNT, evil), None).await.unwrap();
    warehouse
        .finish_run(&failed("\"><script>alert(1)</script>", evil), None)
        .await
        .unwrap();
    let quarantine = "INSERT INTO quarantine (account, resource, raw_hash, reason, raw, seen_at) \
                      VALUES ('main', 'messages', 'a', 'it has no id', '{}', '2026-01-19T10:00:00.000000Z')";
    mirror.database.execute(quarantine).await;

    let mut browser = Browser::start();
    browser.call(
        "Emulation.setTimezoneOverride",
        &json!({ "timezoneId": "Europe/Bucharest" }),
    );
    browser.open(&page.url("/"));
    let status = status(&page).await;
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    assert_eq!(browser.requests(), [page.url("/")], "nothing else is asked for");

    let resources = status["resources"].as_array().unwrap();
    let rows = browser.evaluate(ROWS);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), resources.len());
    for (row, resource) in rows.iter().zip(resources) {
        assert_row(row, resource);
    }
    let contacts = rows.iter().find(|row| row["data"]["holder"] != "").unwrap();
    let cell = contacts["shown"][0].as_str().unwrap();
    assert!(
        cell.contains("Full sync since") && cell.contains("by run@web1:4711.1"),
        "{cell}"
    );
    assert!(!cell.contains("0badcafe"), "{cell}");

    let text = "[...document.querySelectorAll('h1, #attention h3')].map((e) => e.textContent.replace(/^.*: /, ''))";
    let mut told = vec![status["verdict"]["text"].clone()];
    told.extend(
        status["attention"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["title"].clone()),
    );
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(browser.evaluate(text), json!(told));
    let details = browser.evaluate("[...document.querySelectorAll('#attention details li')].map((e) => e.textContent)");
    assert_eq!(details[0], format!("contacts: {evil}"), "said as it was said");
    assert_eq!(browser.evaluate("document.scripts.length"), 1);
    assert_eq!(browser.evaluate("document.images.length"), 0);
    let budget = &status["budgets"][0];
    let meter = "(() => { const { limit, remaining } = document.querySelector('.budget').dataset; return [limit, remaining]; })()";
    assert_eq!(
        browser.evaluate(meter),
        json!([budget["rate_limit"].to_string(), budget["remaining"].to_string()])
    );
    // In the viewer's zone.
    let hours = "[...document.querySelectorAll('time:not([data-ago])')].every((time) => \
                 time.textContent.endsWith(new Date(time.dateTime).toLocaleTimeString('en-GB', \
                 { timeZone: 'Europe/Bucharest', hour: '2-digit', minute: '2-digit' })))";
    assert_eq!(browser.evaluate(hours), true);
    warehouse.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_page_is_whole_without_scripts_on_a_phone_and_in_the_dark() {
    let (mirror, page) = synced().await;
    let warehouse = warehouse(&mirror).await;
    let long = format!("GET /contacts: {}", "averylongwordwithoutanyspace".repeat(20));
    warehouse.finish_run(&failed(ACCOUNT, &long), None).await.unwrap();
    warehouse.close().await;

    let mut browser = Browser::start();
    browser.call("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    browser.open(&page.url("/"));
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    let text = browser.evaluate("document.body.innerText");
    let text = text.as_str().unwrap();
    for fact in [
        "1 thing needs attention",
        "1,234 rows",
        "verified",
        "UTC",
        "As of",
        "Rate limit",
    ] {
        assert!(text.contains(fact), "{fact} is not in: {text}");
    }
    assert_eq!(
        browser.evaluate("document.querySelector('noscript meta').httpEquiv"),
        "refresh"
    );
    browser.call("Emulation.setScriptExecutionDisabled", &json!({ "value": false }));

    for width in [360, 800, 1280] {
        browser.resize(width, 800);
        browser.open(&page.url("/"));
        browser.evaluate("document.querySelectorAll('details').forEach((details) => details.open = true)");
        let wide = "[...document.querySelectorAll('body *:not(.unseen)')].filter((e) => \
                    e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest('thead')).map((e) => e.outerHTML)";
        assert_eq!(browser.evaluate(wide), json!([]), "{width}");
        assert_eq!(browser.evaluate("innerWidth"), width);
        let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(overflow), 0, "{width}");
    }

    let colours =
        "(() => { const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]; })()";
    let light = browser.evaluate(colours);
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.call("Emulation.setEmulatedMedia", &dark);
    let dark = browser.evaluate(colours);
    let brightness = |colour: &Value| {
        let numbers = colour
            .as_str()
            .unwrap()
            .trim_start_matches("rgb(")
            .trim_end_matches(')');
        numbers
            .split(", ")
            .map(|part| part.parse::<u32>().unwrap())
            .sum::<u32>()
    };
    assert!(brightness(&light[0]) + 400 < brightness(&light[1]), "{light}");
    assert!(brightness(&dark[1]) + 400 < brightness(&dark[0]), "{dark}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_page_keeps_itself_up_to_date_and_says_when_it_cannot() {
    let (mirror, page) = synced().await;
    let warehouse = warehouse(&mirror).await;
    warehouse
        .finish_run(&failed(ACCOUNT, "the first trouble"), None)
        .await
        .unwrap();

    let mut browser = Browser::start();
    browser.resize(800, 300);
    browser.open(&page.url("/"));
    assert_eq!(browser.evaluate("document.documentElement.dataset.connection"), "live");
    browser.evaluate(
        "document.querySelector('details').open = true; document.querySelector('summary').focus(); scrollTo(0, 150); \
         window.verdict = document.querySelector('h1'); true",
    );
    warehouse
        .finish_run(&failed(ACCOUNT, "the second trouble"), None)
        .await
        .unwrap();
    browser.wait_until("document.querySelector('details').textContent.includes('the second trouble')");
    let kept = "[document.querySelector('details').open, document.activeElement.localName, scrollY, \
                window.verdict === document.querySelector('h1'), window.verdict.isConnected]";
    // The verdict is the same: it is not said again.
    assert_eq!(browser.evaluate(kept), json!([true, "summary", 150, true, true]));

    // What had failed works again, and the part that told of it goes.
    mirror.sync().await;
    browser.wait_until("!document.getElementById('attention')");
    assert_eq!(
        browser.evaluate("document.getElementById('verdict').dataset.level"),
        "waiting"
    );
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    assert!(browser.requests().iter().all(|url| *url == page.url("/")));

    page.stop.cancel();
    browser.wait_until("document.documentElement.dataset.connection === 'lost'");
    let note = browser.evaluate("document.getElementById('verdict').innerText");
    assert!(
        note.as_str().unwrap().contains("The connection to the daemon is lost."),
        "{note}"
    );
    warehouse.close().await;
}
