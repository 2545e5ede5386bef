//! Answers that are no pages.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allai_sync::allai::Resource;
use allai_sync::warehouse::RunStatus;
use tempfile::TempDir;

use crate::support::database::Database;
use crate::support::hostile::{Hostile, good, page};
use crate::support::process::{Said, allai_sync};

/// Bodies that are no page, and what the user reads of each.
const NO_PAGES: [(&[u8], &str); 9] = [
    (b"<!doctype html><title>Sign in</title>", "it is HTML or XML, not JSON"),
    (b"", "it is empty"),
    (b"null", "neither a list nor an object"),
    (b"{\"error\":\"Ion Popescu\"}", "an error message instead of a list"),
    (b"{\"data\":{\"id\":\"Ion Popescu\"}}", "an object without a list"),
    (
        b"{\"data\":[{\"id\":\"Ion Popescu\"},",
        "the JSON breaks off after 30 bytes",
    ),
    (
        b"{\"data\":[{\"id\":\"Ion Popescu\xff\"}]}",
        "it is not UTF-8, from byte 28 on",
    ),
    (b"{\"data\":[{\"id\":NaN}]}", "it is not JSON (line 1, column 1"),
    (b"\x1f\x8b\x08\x00", "it is not UTF-8, from byte 2 on"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_is_no_page_fails_the_run_and_says_why() {
    for (body, reason) in NO_PAGES {
        let healthy = Arc::new(AtomicU64::new(0));
        let state = Arc::clone(&healthy);
        let hostile = Hostile::saying_bytes(Database::sqlite(), move |asked| {
            // The first pages are in order.
            if asked.offset < 60 || state.load(Ordering::Relaxed) == 1 {
                let rows: Vec<String> = (0..150).map(good).collect();
                page(&rows, asked).into_bytes()
            } else {
                body.to_owned()
            }
        })
        .await;
        let run = hostile.sync(Resource::Contacts, false).await;
        let error = hostile.failure(&run).await;
        assert!(error.starts_with("GET /contacts: the answer is not usable"), "{error}");
        assert!(error.contains(reason) && !error.contains("Popescu"), "{error}");
        assert_eq!(
            (run.retries, run.inserted),
            (7, hostile.count("contacts").await),
            "{run:#?}"
        );
        assert!(run.inserted >= 60, "{run:#?}");
        // It goes on where it was.
        healthy.store(1, Ordering::Relaxed);
        let before = hostile.requests.load(Ordering::Relaxed);
        let run = hostile.sync(Resource::Contacts, false).await;
        assert_eq!((run.status, run.verified), (RunStatus::Complete, true), "{run:#?}");
        assert_eq!(hostile.count("contacts").await, 150);
        assert!(hostile.requests.load(Ordering::Relaxed) - before < 10);
    }
}

/// A web server that answers everything with the same bytes.
fn serve(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v2", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            stream.write_all(answer).ok();
        }
    });
    url
}

/// Through the program and the network: what is read on the terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_program_says_what_is_wrong_with_the_answers() {
    let cases: [(&'static [u8], &str, &str); 3] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 37\r\nConnection: close\r\n\r\n\
              <!doctype html><title>Sign in</title>",
            "HTML",
            "base_url",
        ),
        // It promises more than it sends.
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nConnection: close\r\n\r\n[{\"id\":1}]",
            "the connection broke",
            "check the network",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the connection broke", "base URL"),
    ];
    let running = cases.map(|(answer, what, remedy)| {
        let folder = TempDir::new().unwrap();
        let url = serve(answer);
        let config = format!("[accounts.main]\nbase_url = \"{url}\"\napi_key = \"k\"\n");
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let mut command = allai_sync(folder.path(), &["sync", "contacts", "--json"]);
        let child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        (child, folder, what, remedy)
    });
    for (child, folder, what, remedy) in running {
        let said: Said = child.wait_with_output().unwrap().into();
        let said = said.expect(1);
        let error = said.json()["runs"][0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(what) && error.contains("GET /contacts"), "{error}");
        assert!(
            said.stderr.contains(&error) && !said.stderr.contains("panicked"),
            "{said:?}"
        );
        assert!(error.contains(remedy), "{error}");
        let held = Database::file(&folder.path().join("warehouse.db"));
        assert_eq!(held.value("SELECT count(*) FROM contacts").await, "0");
        assert_eq!(held.value("SELECT status FROM sync_runs").await, "failed");
        held.assert_sound().await;
    }
}
