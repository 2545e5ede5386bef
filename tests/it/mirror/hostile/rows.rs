//! Rows with something wrong.

use allai_sync::allai::Resource;
use allai_sync::sandbox::Options;
use allai_sync::warehouse::RunStatus;

use crate::support::database::Database;
use crate::support::hostile::{Hostile, good, page, page_alone};
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::{eventually, on_both_databases};

on_both_databases!(
    whatever_is_wrong_with_some_rows_the_others_arrive,
    rows_that_come_twice_are_stored_once_as_they_came_last,
    an_id_that_comes_with_different_content_is_no_proof,
    numbers_keep_their_digits,
    dates_in_every_notation_are_read_and_nonsense_is_kept,
    messages_are_no_safer_than_other_rows,
    reports_that_are_nonsense_cost_themselves_alone,
);

/// Rows with something wrong, by what can be told of them: (text, whether SQLite holds it, whether Postgres does).
fn odd_rows() -> Vec<(String, bool, bool)> {
    let megabyte = "ș🙂 lung ".repeat(100_000);
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let with = |id: &str, members: &str| format!("{{\"id\":\"{id}\",{members}}}");
    vec![
        // Texts.
        (with("nul", r#""name":"a\u0000b""#), true, false),
        (with(r"nul\u0000id", r#""name":"a""#), true, false),
        (with("nul key", r#""a\u0000b":1"#), true, false),
        (with("escaped", r#""name":"a\\u0000b""#), true, true),
        (with("long", &format!("\"name\":\"{megabyte}\"")), true, true),
        (with("long extra", &format!("\"note\":\"{megabyte}\"")), true, true),
        (with("half", r#""name":"a\ud83d""#), true, false),
        (with("other half", r#""tags":["\ude42"]"#), true, false),
        (with("control", r#""name":"\u0001\u001b[31m\u007f\u202e""#), true, true),
        (with("empty", r#""name":"","":"","phone":" ""#), true, true),
        // Numbers.
        (with("past 2^53", r#""credit":9007199254740993"#), true, true),
        (with("past i64", r#""credit":-9223372036854775809"#), true, true),
        (with("past u64", r#""credit":18446744073709551616.5"#), true, true),
        (with("past f64", r#""custom_fields":{"n":1e400}"#), true, true),
        (with("past numeric", r#""custom_fields":{"n":1e999999}"#), true, false),
        // Types.
        (
            with(
                "types",
                r#""name":{"a":1},"email":[],"phone":true,"tags":"vip","custom_fields":7"#,
            ),
            true,
            true,
        ),
        (
            with("nulls", r#""name":null,"tags":null,"created_at":null"#),
            true,
            true,
        ),
        (with("twice", r#""name":"one","name":"two""#), true, true),
        (with("deep", &format!("\"tree\":{}", deep(50_000))), true, false),
        // Ids.
        (
            r#"{"id":12345678901234567890,"name":"a number"}"#.to_owned(),
            true,
            true,
        ),
        (format!("{{\"id\":\"{}\"}}", "ș🙂".repeat(400)), true, false),
        (r#"{"name":"no id"}"#.to_owned(), false, false),
        (r#"{"id":null}"#.to_owned(), false, false),
        (r#"{"id":""}"#.to_owned(), false, false),
        (r#"{"id":{"$oid":"x"}}"#.to_owned(), false, false),
        (r#"{"id":["x"]}"#.to_owned(), false, false),
        (r#"{"id":true}"#.to_owned(), false, false),
        (r#"{"id":"half \ud83d id"}"#.to_owned(), false, false),
        // No rows at all.
        ("17".to_owned(), false, false),
        ("null".to_owned(), false, false),
        ("\"text\"".to_owned(), false, false),
        ("[]".to_owned(), false, false),
        ("{}".to_owned(), false, false),
    ]
}

async fn whatever_is_wrong_with_some_rows_the_others_arrive(database: Database) {
    let odd = odd_rows();
    // Each among good rows, and then all of them on pages of their own.
    let mut rows = Vec::new();
    for (number, (text, ..)) in odd.iter().enumerate() {
        rows.push(good(number));
        rows.push(text.clone());
    }
    rows.extend((odd.len()..odd.len() + 30).map(good));
    let held = odd
        .iter()
        .filter(|(_, sqlite, postgres)| if database.is_sqlite() { *sqlite } else { *postgres })
        .count() as u64;
    let (all, goods) = (rows.len() as u64, (odd.len() + 30) as u64);

    let hostile = Hostile::new(database, move |asked| page(&rows, asked)).await;
    for resource in [Resource::Contacts, Resource::Conversations] {
        let run = hostile.sync_twice(resource).await;
        let table = resource.as_str();
        let names = if resource == Resource::Contacts {
            "contacts"
        } else {
            "conversations"
        };
        let quarantined = hostile.count(&format!("quarantine WHERE resource = '{table}'")).await;
        let reasons = hostile
            .database
            .rows(&format!("SELECT id, reason FROM quarantine WHERE resource = '{table}'"))
            .await;
        if resource == Resource::Contacts {
            assert_eq!(hostile.count("contacts").await, goods + held, "{reasons:?}");
            assert_eq!((run.rows_seen, run.inserted), (all, goods + held), "{run:#?}");
        }
        assert_eq!(run.quarantined, quarantined, "{run:#?} {reasons:?}");
        assert_eq!(hostile.count(names).await + quarantined, all, "{reasons:?}");
        assert!(reasons.iter().all(|row| !row.text("reason").is_empty()));
        assert!(run.verified, "{run:#?}");
    }
    let good_rows = hostile
        .count("contacts WHERE id LIKE 'good%' AND name LIKE 'Ana %'")
        .await;
    assert_eq!(good_rows, goods);
    let twice = "SELECT name FROM contacts WHERE id = 'twice'";
    assert_eq!(hostile.database.value(twice).await, "two");
    let long = "SELECT length(name) FROM contacts WHERE id = 'long'";
    assert_eq!(hostile.database.value(long).await, (8 * 100_000).to_string());
    let raw = "SELECT raw FROM quarantine WHERE resource = 'contacts' AND reason LIKE '%id%'";
    let found = hostile.database.rows(raw).await;
    assert!(found.iter().any(|row| row.text("raw").contains("$oid")), "{found:?}");
}

async fn rows_that_come_twice_are_stored_once_as_they_came_last(database: Database) {
    let mut rows: Vec<String> = (0..50).map(good).collect();
    rows.insert(7, rows[6].clone());
    rows.insert(12, r#"{"id":"two","name":"first"}"#.to_owned());
    rows.insert(14, r#"{"id":"two","name":"last"}"#.to_owned());
    let hostile = Hostile::new(database, move |asked| page(&rows, asked)).await;
    let run = hostile.sync(Resource::Contacts, true).await;
    assert_eq!((run.status, run.rows_seen), (RunStatus::Complete, 51), "{run:#?}");
    assert_eq!(hostile.count("contacts").await, 51);
    let two = "SELECT name FROM contacts WHERE id = 'two'";
    assert_eq!(hostile.database.value(two).await, "last");
    // More rows are stated than have an id of their own: that is no proof, and no reason to mark anything as deleted.
    assert!(!run.verified && run.deleted == 0, "{run:#?}");
}

async fn an_id_that_comes_with_different_content_is_no_proof(database: Database) {
    let dated = |row: &str, second: usize| {
        let date = format!("2026-01-02T03:{:02}:{:02}Z", second / 60, second % 60);
        row.replacen(
            '{',
            &format!("{{\"created_at\":\"{date}\",\"updated_at\":\"{date}\","),
            1,
        )
    };
    for (is_dated, count, apart) in [
        (true, 60, 30),
        (false, 60, 30),
        (true, 700, 500),
        (false, 700, 500),
        (false, 700, 0),
    ] {
        // Newest first.
        let row = |number: usize, row: String| {
            if is_dated { dated(&row, count + 1 - number) } else { row }
        };
        let mut rows: Vec<String> = (0..count).map(|number| row(number, good(number))).collect();
        if apart > 0 {
            rows[20] = row(20, r#"{"id":"two","name":"first"}"#.to_owned());
            rows[20 + apart] = row(20 + apart, r#"{"id":"two","name":"last"}"#.to_owned());
        }
        let hostile = Hostile::new(database.another(), move |asked| page_alone(&rows, asked)).await;
        for _ in 1..=2 {
            let run = hostile.sync(Resource::Contacts, true).await;
            assert_eq!(
                (run.status, run.verified),
                (RunStatus::Complete, apart == 0),
                "{is_dated}, {apart} apart: {run:#?}"
            );
        }
    }
}

async fn numbers_keep_their_digits(database: Database) {
    let numbers = [
        "9007199254740993",
        "-9223372036854775809",
        "18446744073709551616",
        "123456789012345678901234567890.10",
        "0.1000000000000000055511151231257827",
    ];
    let rows: Vec<String> = numbers
        .iter()
        .enumerate()
        .map(|(at, number)| format!("{{\"id\":\"n{at}\",\"credit\":{number},\"custom_fields\":{{\"n\":{number}}}}}"))
        .collect();
    let hostile = Hostile::new(database, move |asked| page(&rows, asked)).await;
    hostile.sync_twice(Resource::Contacts).await;
    for (at, number) in numbers.iter().enumerate() {
        for column in ["extra", "custom_fields"] {
            let held = format!("SELECT {column} FROM contacts WHERE id = 'n{at}'");
            let held = hostile.database.value(&held).await;
            assert!(held.contains(number), "{column}: {held}");
        }
    }
}

async fn dates_in_every_notation_are_read_and_nonsense_is_kept(database: Database) {
    let dates = [
        "\"2026-01-02T03:04:05Z\"",
        "\"2026-01-02T05:04:05.000+02:00\"",
        "\"2026-01-02 03:04:05\"",
        "1767323045",
        "1767323045000",
        "\"1767323045\"",
    ];
    let nonsense = [
        "\"yesterday\"",
        "\"02/01/2026\"",
        "\"0000-00-00T00:00:00Z\"",
        "\"2026-02-30\"",
        "\"99999-01-01T00:00:00Z\"",
        "1e300",
        "-1e18",
        "true",
        "{}",
        "\"\"",
    ];
    let row = |(at, date): (usize, &&str)| format!("{{\"id\":\"d{at}\",\"created_at\":{date}}}");
    let mut rows: Vec<String> = dates.iter().enumerate().map(row).collect();
    rows.extend(nonsense.iter().enumerate().map(|(at, date)| row((at + 100, date))));
    let hostile = Hostile::new(database, move |asked| page(&rows, asked)).await;
    let run = hostile.sync_twice(Resource::Contacts).await;
    assert_eq!((run.rows_seen, run.quarantined), (16, 0), "{run:#?}");
    for row in hostile.database.table("contacts").await {
        let number: usize = row.text("id")[1..].parse().unwrap();
        if number < 100 {
            assert_eq!(
                row.time("created_at"),
                Some("2026-01-02T03:04:05Z".parse().unwrap()),
                "{row:?}"
            );
        } else {
            assert_eq!(row.get("created_at"), None, "{row:?}");
            assert!(row.text("extra").contains("created_at"), "{row:?}");
        }
    }
}

async fn messages_are_no_safer_than_other_rows(database: Database) {
    let on_sqlite = database.is_sqlite();
    let hostile = Hostile::new(database, |asked| {
        if asked.path == "/conversations" {
            return page(&[r#"{"id":"v1"}"#.to_owned(), r#"{"id":"v2"}"#.to_owned()], asked);
        }
        if !asked.path.ends_with("/messages") {
            return r#"{"id":"v1"}"#.to_owned();
        }
        let rows: Vec<String> = odd_rows().into_iter().map(|(text, ..)| text).chain([good(1)]).collect();
        page(&rows, asked)
    })
    .await;
    hostile.sync_twice(Resource::Conversations).await;
    let run = hostile.sync_twice(Resource::Messages).await;
    // Both conversations have messages of the same ids.
    assert_eq!(hostile.count("messages WHERE id = 'good1'").await, 2);
    let (held, bad) = (hostile.count("messages").await, run.quarantined);
    assert_eq!(held + bad, 2 * (odd_rows().len() as u64 + 1), "{run:#?}");
    assert_eq!(run.inserted, held, "{run:#?}");
    assert!(if on_sqlite { held > 40 } else { held > 20 }, "{run:#?}");
}

async fn reports_that_are_nonsense_cost_themselves_alone(database: Database) {
    let hostile = Hostile::new(database, |asked| {
        let body = match asked.path.as_str() {
            "/analytics/overview" => {
                r#"{"total_conversations":"many","resolution_rate":1e999,"avg_response_time_ms":-9223372036854775809,
                    "satisfaction_score":{"a\u0000b":1},"top_topics":[{"topic":null},{"topic":"a\u0000b","count":1},
                    {"topic":"pricing","count":18446744073709551616},7],"conversations_by_channel":"website"}"#
            }
            "/analytics/satisfaction" => "<html><body>Down for maintenance</body></html>",
            _ => r#"{"data":[{"date":"2026-01-18","conversations":5},{"date":"soon","conversations":7},{"date":null},[]]}"#,
        };
        body.to_owned()
    })
    .await;
    let run = hostile.sync(Resource::Analytics, false).await;
    assert_eq!(run.status, RunStatus::Incomplete, "{run:#?}");
    let error = run.error.unwrap();
    assert!(error.contains("satisfaction") && error.contains("HTML"), "{error}");
    let day = "SELECT conversations FROM analytics_daily";
    assert_eq!(hostile.database.value(day).await, "5");
    // The NUL in it is more than Postgres can hold.
    let held = u64::from(hostile.database.is_sqlite());
    assert_eq!(hostile.count("analytics_overview").await, held);
    assert!(hostile.count("quarantine").await > 0);
}

/// Ten pages of ten megabytes: as fast as they come, they are not all kept in memory until they are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_hundred_kilobytes_do_not_pile_up_in_memory() {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(1_000, 0)).await;
    let blob = format!("\"{}\"", "x".repeat(100_000));
    for id in mirror.sandbox.account().contact_ids() {
        assert!(mirror.sandbox.account().distort_contact(&id, "blob", Some(&blob)));
    }
    mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 100\n"));
    let mut sync = mirror.spawn(&["sync", "contacts"]);
    let mut peak = 0;
    eventually("the sync ends", || {
        peak = peak.max(sync.peak_memory().unwrap_or(0));
        !sync.is_running()
    })
    .await;
    sync.end().await.expect(0);
    assert_eq!(mirror.database.value("SELECT count(*) FROM contacts").await, "1000");
    assert!((1..250).contains(&peak), "{peak} MiB");
}
