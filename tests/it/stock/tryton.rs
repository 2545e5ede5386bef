//! Stock from a real Tryton, by the daemon.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::daemon::{Daemon, until};
use crate::support::database::Database;
use crate::support::lossy;
use crate::support::mirror::Mirror;
use crate::support::tryton::Server;
use allai_sync::lifecycle::allow_many_files;
use allai_sync::sandbox::Options;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thousand_lookups_of_fifty_skus_are_few_requests_and_are_told_when_it_hangs() {
    allow_many_files();
    let between = lossy::start(&Server::shared().url()).await;
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(1, 1)).await;
    mirror.configure(&format!(
        "{}\n[admin]\nlisten = \"127.0.0.1:0\"\n[connectors.erp]\nkind = \"tryton\"\nurl = \"{}\"\ndatabase = \"erp\"\n\
         username = \"allai\"\npassword = \"pw-Demo-2-allai\"\ntimeout = \"30s\"\ndeadline = \"10s\"\ncache_for = \"5s\"\n",
        mirror.account_config("main", ""),
        between.url
    ));
    let daemon = Daemon::start(&mirror).await;
    let skus: Vec<String> = ["PH-1000", "FT-200", "CU-1", "NP-1"]
        .map(str::to_owned)
        .into_iter()
        .chain((4..50).map(|number| format!("NOT-THERE-{number}")))
        .collect();
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    let (client, address) = (reqwest::Client::new(), daemon.address());
    let ask = async |sku: &str| {
        let answer = client
            .get(format!("{address}/api/v1/stock/{sku}"))
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body["items"][0].clone())
    };
    let lookups = (0..1_000).map(async |number| {
        let sku = skus[number % 50].as_str();
        let (status, item) = ask(sku).await;
        let expected = match sku {
            "PH-1000" => (200, json!("10")),
            "FT-200" => (200, json!("120")),
            "CU-1" => (200, json!("0.3")),
            "NP-1" => (200, json!("0")),
            _ => (404, Value::Null),
        };
        assert_eq!((status, item["on_hand"].clone()), expected, "{sku}: {item}");
        assert_eq!(item["error"], Value::Null, "{item}");
    });
    join_all(lookups).await;
    assert!(between.count() <= 50, "{} requests", between.count());

    between.stall(Duration::from_hours(1));
    until("it is told as stale", async || {
        let (status, item) = ask("PH-1000").await;
        assert_eq!((status, &item["on_hand"]), (200, &json!("10")), "{item}");
        item["source"] == json!("stale")
    })
    .await;
    let (status, item) = ask("FT-200").await;
    assert_eq!((status, &item["source"]), (200, &json!("stale")));
    assert!(item["as_of"].is_string(), "{item}");
}
