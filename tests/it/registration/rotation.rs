//! A secret is replaced while events come: none is lost, and in the end the old secret is worth nothing.

use std::time::Duration;

use allai_sync::allai::signature;
use allai_sync::clock::SystemClock;
use allai_sync::sandbox::ContactDraft;

use super::{ALL, mirror, register};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::process::Process;

on_both_databases! {
    a_secret_is_replaced_while_events_come,
}

const OLD: &str = "hush-the-old-one";
const NEW: &str = "hush-the-new-one";

fn configure(mirror: &Mirror, public_url: &str, secrets: &str) {
    let (url, key) = (mirror.sandbox.base_url(), &mirror.sandbox.keys().full);
    let listen = public_url.trim_start_matches("http://");
    mirror.configure(&format!(
        "[accounts.main]\nbase_url = \"{url}\"\napi_key = \"{key}\"\n[accounts.main.webhook]\n{secrets}\n\
         events = [\"lead.created\"]\n[webhooks]\nlisten = \"{listen}\"\npublic_url = \"{public_url}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n"
    ));
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::shared();
    while !condition().await {
        assert!(clock.monotonic() < Duration::from_mins(1), "in vain: {what}");
        clock.sleep(Duration::from_millis(20)).await;
    }
}

async fn post(url: &str, secret: &str, body: &str) -> u16 {
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let signature = signature::sign(&secret.into(), body.as_bytes());
    let request = client.post(url).header("x-allai-signature", signature);
    request.body(body.to_owned()).send().await.unwrap().status().as_u16()
}

fn leads(mirror: &Mirror, count: usize) {
    for _ in 0..count {
        mirror.sandbox.account().insert_contact(ContactDraft {
            tags: Some(vec!["lead".to_owned()]),
            ..ContactDraft::default()
        });
    }
}

async fn a_secret_is_replaced_while_events_come(database: Database) {
    let mirror = mirror(database, &ALL).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let public = format!("http://{free}");
    configure(&mirror, &public, &format!("secret = \"{OLD}\""));
    let log = mirror.folder().join("daemon.log");
    let mut daemon = Process::logging_to(mirror.command(&["run"]), &log);
    let read_log = || std::fs::read_to_string(&log).unwrap();
    until("it is ready", async || read_log().contains("ready; ")).await;
    let mut reload = || {
        let before = read_log().len();
        daemon.signal("HUP");
        before
    };

    register(&mirror, &[]);
    leads(&mirror, 40);
    configure(
        &mirror,
        &public,
        &format!("secret = \"{NEW}\"\nprevious_secret = \"{OLD}\""),
    );
    let before = reload();
    until("it is taken", async || read_log()[before..].contains("is reloaded")).await;
    leads(&mirror, 40);
    assert_eq!(register(&mirror, &[])["action"], "updated");
    leads(&mirror, 40);
    mirror.sandbox.deliveries_finished().await;
    configure(&mirror, &public, &format!("secret = \"{NEW}\""));
    let before = reload();
    until("it is taken", async || read_log()[before..].contains("is reloaded")).await;
    leads(&mirror, 40);
    mirror.sandbox.deliveries_finished().await;

    let deliveries = mirror.sandbox.deliveries();
    let refused = deliveries.iter().filter(|sent| sent.status == Some(401));
    assert_eq!(refused.count(), 0);
    let stored = mirror
        .database
        .value("SELECT count(*) FROM webhook_events WHERE event = 'lead.created'")
        .await;
    assert_eq!(stored, "160");
    let url = format!("{public}/webhooks/allai/main");
    let body = r#"{"id":"late","event":"lead.created","data":{"id":"c1"}}"#;
    assert_eq!(post(&url, OLD, body).await, 401);
    assert_eq!(post(&url, NEW, body).await, 200);
}
