//! Lists that do not end, or whose pages are not those that were asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use allai_sync::allai::Resource;
use allai_sync::warehouse::RunStatus;
use tokio::sync::watch;

use crate::support::database::Database;
use crate::support::hostile::{Asked, Hostile, good, page, page_alone};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_list_without_an_end_is_found_out() {
    let made_up = |asked: &Asked, total: &str| {
        let mut rows = String::new();
        for number in asked.offset..asked.offset + asked.limit {
            let comma = if rows.is_empty() { "" } else { "," };
            write!(
                rows,
                "{comma}{{\"id\":\"c{number}\",\"created_at\":\"2026-01-01T00:00:00Z\"}}"
            )
            .unwrap();
        }
        format!("{{\"data\":[{rows}]{total}}}")
    };
    for total in ["", ",\"has_more\":true", ",\"total\":40"] {
        let mut hostile = Hostile::new(Database::sqlite(), move |asked| made_up(asked, total)).await;
        hostile.account.page_size = 5;
        for _ in 0..2 {
            let run = hostile.sync(Resource::Contacts, true).await;
            let error = hostile.failure(&run).await;
            assert!(error.contains("the list of contacts does not end"), "{error}");
            assert!(run.requests < 250 && run.rows_seen > 300, "{run:#?}");
            let states = "sync_state WHERE checkpoint IS NOT NULL OR last_complete_at IS NOT NULL";
            assert_eq!(hostile.count(states).await, 0);
        }
    }
}

/// The rows differ each time, whatever is asked for: no page is like another.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_are_made_up_each_time_are_not_read_for_ever() {
    let next = AtomicU64::new(0);
    let mut hostile = Hostile::new(Database::sqlite(), move |asked| {
        let from = usize::try_from(next.fetch_add(asked.limit as u64, Ordering::Relaxed)).unwrap();
        let rows: Vec<String> = (from..from + asked.limit)
            .map(|id| format!("{{\"id\":{id}}}"))
            .collect();
        format!("[{}]", rows.join(","))
    })
    .await;
    hostile.account.page_size = 4;
    let run = hostile.sync(Resource::Contacts, true).await;
    let error = hostile.failure(&run).await;
    assert!(error.contains("does not end"), "{error}");
    assert!(run.requests < 5_000, "{run:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_conversation_without_an_end_does_not_keep_the_others_from_being_read() {
    let mut hostile = Hostile::new(Database::sqlite(), |asked| match asked.path.as_str() {
        "/conversations" => page(&["{\"id\":\"v1\"}".to_owned(), "{\"id\":\"v2\"}".to_owned()], asked),
        "/conversations/v1/messages" => {
            let rows: Vec<String> = (asked.offset..asked.offset + asked.limit)
                .map(|id| format!("{{\"id\":\"m{id}\"}}"))
                .collect();
            format!("[{}]", rows.join(","))
        }
        "/conversations/v2/messages" => page(&["{\"id\":\"only\"}".to_owned()], asked),
        _ => "{\"id\":\"v1\"}".to_owned(),
    })
    .await;
    hostile.account.page_size = 4;
    hostile.sync(Resource::Conversations, true).await;
    let run = hostile.sync(Resource::Messages, true).await;
    assert_eq!((run.status, run.verified), (RunStatus::Incomplete, false), "{run:#?}");
    let error = run.error.unwrap();
    assert!(error.contains("v1") && error.contains("does not end"), "{error}");
    assert_eq!(hostile.count("messages WHERE id = 'only'").await, 1);
}

/// It cuts its pages and does not know it: of short lists what it says is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_are_not_all_there_are_because_the_server_says_so_of_each_page() {
    let lengths = [3, 7, 12, 25, 26, 24, 60, 9, 130];
    for says in ["\"has_more\":false", "\"total\":COUNT"] {
        let mut hostile = Hostile::new(Database::sqlite(), move |asked| {
            let conversation = |at: usize| format!("{{\"id\":\"v{at}\",\"created_at\":\"2026-01-01T00:00:00Z\"}}");
            if asked.path == "/conversations" {
                return page(&(0..lengths.len()).map(conversation).collect::<Vec<_>>(), asked);
            }
            let at: usize = asked.path.split(['v', '/']).find_map(|part| part.parse().ok()).unwrap();
            if !asked.path.ends_with("/messages") {
                return conversation(at);
            }
            let shown = (asked.offset..lengths[at]).take(asked.limit.min(25));
            let rows: Vec<String> = shown.map(|id| format!("{{\"id\":\"m{id}\"}}")).collect();
            let says = says.replace("COUNT", &(asked.offset + rows.len()).to_string());
            format!("{{\"data\":[{}],{says}}}", rows.join(","))
        })
        .await;
        hostile.account.page_size = 100;
        hostile.sync(Resource::Conversations, true).await;
        for _ in 0..3 {
            let run = hostile.sync(Resource::Messages, true).await;
            assert_eq!(run.status, RunStatus::Complete, "{run:#?}");
            assert_eq!(
                hostile.count("messages WHERE deleted_at IS NULL").await,
                lengths.iter().sum::<usize>() as u64,
                "{says}: {run:#?}"
            );
        }
    }
}

/// Lists that end, by servers that do not say where: all rows arrive, and what is not proven is not called verified.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_misunderstands_offset_and_limit_loses_nothing() {
    type Cut = fn(&[String], &Asked) -> String;
    let cases: [(&str, usize, bool, Cut); 8] = [
        // (what it does, rows that can be had, whether they can be proven to be all, how)
        ("ignores the offset", 20, false, |rows, asked| {
            format!("[{}]", rows[..asked.limit].join(","))
        }),
        ("ignores the offset and states a total", 20, false, |rows, asked| {
            format!(
                "{{\"data\":[{}],\"total\":{}}}",
                rows[..asked.limit].join(","),
                rows.len()
            )
        }),
        ("ignores offset and limit", 150, false, |rows, _| {
            format!("[{}]", rows.join(","))
        }),
        ("clamps the limit to 7", 150, true, |rows, asked| {
            let limit = asked.limit.min(7);
            page(rows, &asked.limited_to(limit))
        }),
        ("clamps the limit to 3 and states no total", 150, true, |rows, asked| {
            let from = asked.offset.min(rows.len());
            format!("[{}]", rows[from..(from + 3).min(rows.len())].join(","))
        }),
        ("returns more than was asked for", 150, true, |rows, asked| {
            let limit = asked.limit * 3;
            page(rows, &asked.limited_to(limit))
        }),
        ("brings its last page behind the end", 150, true, |rows, asked| {
            let from = asked.offset.min(rows.len() - asked.limit);
            format!("[{}]", rows[from..from + asked.limit].join(","))
        }),
        ("begins anew behind the end", 150, false, |rows, asked| {
            let rows: Vec<&str> = (asked.offset..asked.offset + asked.limit)
                .map(|at| rows[at % rows.len()].as_str())
                .collect();
            format!("[{}]", rows.join(","))
        }),
    ];
    for (what, expected, provable, cut) in cases {
        let hostile = Hostile::new(Database::sqlite(), move |asked| {
            let rows: Vec<String> = (0..150).rev().map(good).collect();
            cut(&rows, asked)
        })
        .await;
        let run = hostile.sync(Resource::Contacts, true).await;
        let status = if expected < 150 {
            RunStatus::Incomplete
        } else {
            RunStatus::Complete
        };
        assert_eq!(run.status, status, "{what}: {run:#?}");
        assert_eq!(hostile.count("contacts").await, expected as u64, "{what}: {run:#?}");
        assert_eq!(run.rows_seen, expected as u64, "{what}: {run:#?}");
        assert!(provable || !run.verified, "{what}: {run:#?}");
        assert!(run.requests < 300, "{what}: {run:#?}");
    }
}

/// What could not be read to its end is not taken for complete, so that the next run reads all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_list_that_grew_as_fast_as_it_was_read_is_read_whole_by_the_next_run() {
    let (grows, asked_for) = (Arc::new(AtomicBool::new(true)), AtomicUsize::new(0));
    let still = Arc::clone(&grows);
    let hostile = Hostile::new(Database::sqlite(), move |asked| {
        if still.load(Ordering::Relaxed) {
            asked_for.fetch_add(1, Ordering::Relaxed);
        }
        let there = 400 + 19 * asked_for.load(Ordering::Relaxed);
        let rows: Vec<String> = (0..there)
            .rev()
            .skip(asked.offset)
            .take(asked.limit)
            .map(good)
            .collect();
        format!("[{}]", rows.join(","))
    });
    let mut hostile = hostile.await;
    hostile.account.page_size = 20;
    let run = hostile.sync(Resource::Contacts, false).await;
    assert_eq!((run.status, run.verified), (RunStatus::Incomplete, false), "{run:#?}");
    let said = run.error.unwrap();
    assert!(said.contains("rows are missing") && said.contains("next run"), "{said}");
    grows.store(false, Ordering::Relaxed);
    let run = hostile.sync(Resource::Contacts, false).await;
    assert_eq!((run.status, run.verified), (RunStatus::Complete, true), "{run:#?}");
    assert_eq!(hostile.count("contacts").await, run.rows_seen);
    assert!(run.rows_seen >= 400, "{run:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_list_of_rows_without_an_id_ends_and_is_in_quarantine() {
    let rows: Vec<String> = (0..70).map(|number| format!("{{\"name\":\"Ana {number}\"}}")).collect();
    let hostile = Hostile::new(Database::sqlite(), move |asked| page(&rows, asked)).await;
    let run = hostile.sync_twice(Resource::Contacts).await;
    assert_eq!((run.rows_seen, run.quarantined, run.inserted), (70, 70, 0), "{run:#?}");
    assert_eq!(hostile.count("quarantine").await, 70);
}

/// Whether there is more behind what looks like the end is not known, then, and the run says so; or fails, with the API.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_api_that_fails_behind_the_apparent_end_proves_nothing() {
    for from_then_on in [false, true] {
        let fails = AtomicBool::new(false);
        let hostile = Hostile::new(Database::sqlite(), move |asked| {
            if asked.offset > 65 || fails.load(Ordering::Relaxed) {
                fails.store(from_then_on, Ordering::Relaxed);
                return "<html>Bad Gateway</html>".to_owned();
            }
            // No total: it would tell where the list ends.
            let rows: Vec<String> = (0..60).map(good).skip(asked.offset).take(asked.limit).collect();
            format!("{{\"data\":[{}]}}", rows.join(","))
        });
        let mut hostile = hostile.await;
        hostile.account.page_size = 20;
        let run = hostile.sync(Resource::Contacts, true).await;
        if from_then_on {
            hostile.failure(&run).await;
        } else {
            assert_eq!((run.status, run.verified), (RunStatus::Complete, false), "{run:#?}");
        }
        assert_eq!(hostile.count("contacts").await, 60);
    }
}

/// A row moves to the end of the list when that was answered already, ahead of its time, and the page on which the row stood was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_moves_behind_an_end_that_was_read_too_early_is_found() {
    for says_when in [true, false] {
        what_moves_behind_an_end_is_found(says_when).await;
    }
}

/// Whether rows say when they last changed or not.
async fn what_moves_behind_an_end_is_found(says_when: bool) {
    // The page behind the last full one holds what pages overlap by, and nothing else.
    let row = move |id: usize, second: usize| {
        if !says_when {
            return format!("{{\"id\":\"c{id}\",\"created_at\":\"2026-01-01T08:00:{id:02}Z\"}}");
        }
        let created = id * 7 % 58;
        format!(
            "{{\"id\":\"c{id}\",\"created_at\":\"2026-01-01T08:00:{created:02}Z\",\"updated_at\":\"2026-01-02T08:{:02}:{:02}Z\"}}",
            second / 60,
            second % 60
        )
    };
    let rows: Arc<Mutex<Vec<String>>> = Arc::new(Mutex::new((0..58).map(|id| row(id, id)).collect()));
    let (answered, end_was_answered) = watch::channel(false);
    let (answered, list) = (Arc::new(answered), Arc::clone(&rows));
    let hostile = Hostile::answering(Database::sqlite(), 8, move |asked| {
        let (rows, answered, mut end) = (Arc::clone(&list), Arc::clone(&answered), end_was_answered.clone());
        Box::pin(async move {
            if asked.offset == 19 && end.wait_for(|answered| *answered).await.is_ok() {
                let mut rows = rows.lock().unwrap();
                if rows[25].contains("\"c25\"") {
                    rows.remove(25);
                    rows.push(row(25, 100));
                }
            }
            if asked.offset == 57 {
                answered.send_replace(true);
            }
            let rows = rows.lock().unwrap();
            page_alone(&rows, &asked).into_bytes()
        })
    });
    let hostile = hostile.await;
    let run = hostile.sync(Resource::Contacts, true).await;
    assert!(rows.lock().unwrap().last().unwrap().contains("\"c25\""));
    assert_eq!((run.verified, run.rows_seen), (true, 58), "{run:#?}");
    assert_eq!(hostile.count("contacts").await, 58);
}

/// A page of a list of so many rows that does not say how many there are.
fn newest_first(rows: usize, offset: usize, limit: usize) -> Vec<u8> {
    let row = |id: usize| format!("{{\"id\":{id},\"created_at\":{}}}", 1_760_000_000 + id);
    let shown: Vec<String> = (0..rows).rev().map(row).skip(offset).take(limit).collect();
    format!("{{\"data\":[{}]}}", shown.join(",")).into_bytes()
}

/// Pages fetched ahead of their time are of use although those before are shorter than was to be expected, and where they cannot be,
/// less is fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pages_that_waver_are_not_all_fetched_twice() {
    // (rows asked for, rows on a page, by how many fewer there may be, requests there are at least, requests allowed)
    for (page_size, most, fewer, least, allowed) in [
        (100, 100, 0, 64, 80),
        (100, 100, 1, 64, 80),
        (10, 10, 1, 667, 950),
        (100, 100, 20, 64, 120),
        (100, 50, 0, 125, 150),
    ] {
        let offsets: Arc<Mutex<Vec<usize>>> = Arc::default();
        let noted = Arc::clone(&offsets);
        let mut hostile = Hostile::answering(Database::sqlite(), 8, move |asked| {
            let mut noted = noted.lock().unwrap();
            let limit = asked.limit.min(most) - noted.len() * 7 % (fewer + 1);
            noted.push(asked.offset);
            Box::pin(ready(newest_first(6_000, asked.offset, limit)))
        })
        .await;
        hostile.account.page_size = page_size;
        let run = hostile.sync(Resource::Contacts, true).await;
        assert_eq!((run.verified, run.rows_seen), (true, 6_000), "{run:#?}");
        let requests = run.requests;
        assert!((least..=allowed).contains(&requests), "{most}, {fewer}: {run:#?}");
        // The head is, at the end, and now and then a page is, to see whether it is as short as it was; those behind it are not.
        let offsets = offsets.lock().unwrap();
        let asked_again = offsets.len() - offsets.iter().collect::<BTreeSet<_>>().len();
        assert!(asked_again <= 8, "{most}, {fewer}: {asked_again} of {requests}");
    }
}

/// It is read faster than it grows, whatever is fetched in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_list_that_grows_with_every_request_is_read_to_its_end_although_its_pages_waver() {
    let counted = AtomicU64::new(0);
    let mut hostile = Hostile::answering(Database::sqlite(), 8, move |asked| {
        let number = usize::try_from(counted.fetch_add(1, Ordering::Relaxed)).unwrap();
        let limit = asked.limit - number % 2;
        Box::pin(ready(newest_first(400 + number, asked.offset, limit)))
    })
    .await;
    hostile.account.page_size = 6;
    let run = hostile.sync(Resource::Contacts, true).await;
    assert_eq!(run.status, RunStatus::Complete, "{run:#?}");
    assert!(run.requests < 500, "{run:#?}");
}
