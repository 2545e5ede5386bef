//! Passing applied events on to a real NATS server.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use allai_sync::allai::signature;
use allai_sync::sandbox::Options;
use async_nats::jetstream;
use futures_util::StreamExt as _;

use crate::daemon::{Daemon, until};
use crate::receiving::{SECRET, configure_with, event, post, receiver};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::process::Process;

on_both_databases! {
    what_is_applied_is_passed_on_also_what_waited_for_the_server,
    an_event_that_the_server_does_not_take_is_passed_on_without_its_body,
    what_is_not_passed_on_yet_is_not_forgotten,
}

/// A server with `JetStream` in a folder, and with these settings.
pub(crate) fn nats_server(port: u16, folder: &Path, settings: &str) -> Process {
    let config = folder.join("nats.conf");
    std::fs::write(&config, settings).unwrap();
    let mut command = Command::new("nats-server");
    command
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(folder.join("nats"))
        .arg("-c")
        .arg(config);
    Process::logging_to(command, &folder.join("nats.log"))
}

pub(crate) async fn jetstream(port: u16) -> jetstream::Context {
    let url = format!("nats://127.0.0.1:{port}");
    let mut client = None;
    until("the NATS server answers", async || {
        client = async_nats::connect(&url).await.ok();
        client.is_some()
    })
    .await;
    jetstream::new(client.unwrap())
}

/// Subjects, message ids, what is said of their bodies' sizes, and bodies of what the stream has, in order.
async fn messages(context: &jetstream::Context) -> Vec<(String, String, String, String)> {
    let Ok(mut stream) = context.get_stream("ALLAI").await else {
        return Vec::new();
    };
    let count = stream.info().await.unwrap().state.messages;
    let consumer = stream
        .create_consumer(jetstream::consumer::pull::Config::default())
        .await
        .unwrap();
    let count = usize::try_from(count).unwrap();
    let mut fetched = consumer.fetch().max_messages(count.max(1)).messages().await.unwrap();
    let mut found = Vec::new();
    while found.len() < count
        && let Some(message) = fetched.next().await
    {
        let message = message.unwrap();
        let header = |name: &str| message.headers.as_ref().unwrap().get(name).unwrap().to_string();
        let (id, size) = (header("Nats-Msg-Id"), header("Allai-Body-Bytes"));
        let body = String::from_utf8(message.payload.to_vec()).unwrap();
        found.push((message.subject.to_string(), id, size, body));
    }
    found
}

async fn what_is_applied_is_passed_on_also_what_waited_for_the_server(database: Database) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mirror = Mirror::start(database, Options::for_tests(5, 2)).await;
    let nats = format!("[webhooks.nats]\nurl = \"nats://127.0.0.1:{port}\"\n");
    configure_with(&mirror, &format!("secret = \"{SECRET}\"\n"), &nats);
    let mut daemon = Daemon::start(&mirror).await;
    let address = receiver(&mut daemon).await;
    let send = async |id: &str| {
        let body = event(id);
        let signature = signature::sign(&SECRET.into(), &body);
        assert_eq!(post(address, &body, &signature).await, 200);
    };
    // Nobody takes the first ones yet, and the daemon dies over it.
    send("e1").await;
    send("e2").await;
    daemon.until_log("events are not passed on, and wait").await;
    daemon.process.kill();

    let _server = nats_server(port, mirror.folder(), "");
    let context = jetstream(port).await;
    let mut daemon = Daemon::called(&mirror, "second").await;
    let address = receiver(&mut daemon).await;
    let send = async |id: &str| {
        let body = event(id);
        let signature = signature::sign(&SECRET.into(), &body);
        assert_eq!(post(address, &body, &signature).await, 200);
    };
    send("e2").await;
    send("e3").await;
    until("all are passed on", async || messages(&context).await.len() >= 3).await;
    until("that is noted", async || {
        let waiting = "SELECT id FROM webhook_events WHERE forwarded_at IS NULL";
        mirror.database.rows(waiting).await.is_empty()
    })
    .await;
    let found = messages(&context).await;
    for (at, id) in ["e1", "e2", "e3"].into_iter().enumerate() {
        let body = String::from_utf8(event(id)).unwrap();
        let size = body.len().to_string();
        let expected = ("allai.main.ticket.opened".to_owned(), format!("main/{id}"), size, body);
        assert!(found.contains(&expected), "{at}: {found:?}");
    }
    assert_eq!(found.len(), 3);
    daemon.stop().await.0.expect(0);
}

async fn an_event_that_the_server_does_not_take_is_passed_on_without_its_body(database: Database) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mirror = Mirror::start(database, Options::for_tests(5, 2)).await;
    let _server = nats_server(port, mirror.folder(), "max_payload: 4096\n");
    let context = jetstream(port).await;
    let nats = format!("[webhooks.nats]\nurl = \"nats://127.0.0.1:{port}\"\n");
    configure_with(&mirror, &format!("secret = \"{SECRET}\"\n"), &nats);
    let mut daemon = Daemon::start(&mirror).await;
    let address = receiver(&mut daemon).await;
    let large = format!(
        r#"{{"id":"large","event":"ticket.opened","data":{{"text":"{}"}}}}"#,
        "ț".repeat(5_000)
    );
    let small = event("small");
    for body in [large.as_bytes(), &small] {
        let signature = signature::sign(&SECRET.into(), body);
        assert_eq!(post(address, body, &signature).await, 200);
    }
    until("that both are passed on is noted", async || {
        let waiting = "SELECT id FROM webhook_events WHERE forwarded_at IS NULL";
        mirror.database.rows(waiting).await.is_empty()
    })
    .await;
    let mut found = messages(&context).await;
    found.sort();
    let message = |id: &str, size: usize, body: &str| {
        let (subject, id) = ("allai.main.ticket.opened".to_owned(), format!("main/{id}"));
        (subject, id, size.to_string(), body.to_owned())
    };
    let small = String::from_utf8(small).unwrap();
    let expected = [message("large", large.len(), ""), message("small", small.len(), &small)];
    assert_eq!(found, expected);
    // It is told of, and the body is where it always is.
    daemon.until_log("raise its max_payload").await;
    let kept = "SELECT body FROM webhook_events WHERE id = 'large'";
    assert_eq!(mirror.database.value(kept).await, large);
    daemon.stop().await.0.expect(0);
}

async fn what_is_not_passed_on_yet_is_not_forgotten(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(5, 2)).await;
    mirror.sync().await;
    let (long_ago, now) = ("2020-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z");
    for (id, processed_at, forwarded_at) in [
        ("old", long_ago, Some(long_ago)),
        ("waiting", long_ago, None),
        ("applied late", now, Some(now)),
    ] {
        let forwarded_at = forwarded_at.map_or_else(|| "NULL".to_owned(), |at| format!("'{at}'"));
        let event = format!(
            "INSERT INTO webhook_events (account, id, event, entity, received_at, body, status, attempts, processed_at, forwarded_at) \
             VALUES ('main', '{id}', 'ticket.opened', 'event:{id}', '{long_ago}', '{{}}', 'done', 1, '{processed_at}', {forwarded_at})"
        );
        mirror.database.execute(&event).await;
    }
    let kept = async || {
        let rows = mirror.database.rows("SELECT id FROM webhook_events ORDER BY id").await;
        rows.iter().map(|row| row.text("id").to_owned()).collect::<Vec<_>>()
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nats = format!("[webhooks.nats]\nurl = \"nats://127.0.0.1:{port}\"\n");
    configure_with(&mirror, &format!("secret = \"{SECRET}\"\n"), &nats);
    let daemon = Daemon::start(&mirror).await;
    until("the old one is forgotten", async || {
        !kept().await.contains(&"old".to_owned())
    })
    .await;
    assert_eq!(kept().await, ["applied late", "waiting"]);
    daemon.stop().await.0.expect(0);
    // Where nothing is passed on any more, nothing waits for it.
    configure_with(&mirror, &format!("secret = \"{SECRET}\"\n"), "");
    let daemon = Daemon::called(&mirror, "second").await;
    until("it is forgotten, too", async || kept().await == ["applied late"]).await;
    daemon.stop().await.0.expect(0);
}
