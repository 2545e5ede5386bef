//! Stock, from a database of the company's own: by the command, and by the daemon.

mod snapshots;
mod tryton;

use allai_sync::sandbox::Options;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::support::database::Database;
use crate::support::mirror::Mirror;

pub(crate) const QUERIES: &str = r#"
stock_query = """
SELECT p.sku, p.name, p.uom, s.warehouse, s.on_hand, s.available FROM products p
LEFT JOIN stock s ON s.sku = p.sku WHERE p.sku IN (:skus) ORDER BY s.warehouse
"""
price_query = "SELECT sku, net, gross, 'RON' AS currency FROM products WHERE sku IN (:skus)"
"#;

/// A mirror, and a shop with a database of its own.
async fn shop(more: &str) -> (Mirror, Database) {
    shop_beside(Database::sqlite(), more).await
}

/// The same, mirrored into this database.
async fn shop_beside(warehouse: Database, more: &str) -> (Mirror, Database) {
    let mirror = Mirror::start(warehouse, Options::for_tests(3, 1)).await;
    let erp = products(&mirror).await;
    let account = mirror.account_config("main", "");
    mirror.configure(&format!(
        "{account}\n[admin]\nlisten = \"127.0.0.1:0\"\n[connectors.erp]\nkind = \"sql\"\nurl = \"{}\"\n{QUERIES}{more}",
        erp.url()
    ));
    (mirror, erp)
}

/// The database of a shop, beside a mirror: three products and what there is of them.
pub(crate) async fn products(mirror: &Mirror) -> Database {
    let erp = Database::file(&mirror.folder().join("erp.db"));
    std::fs::write(mirror.folder().join("erp.db"), "").unwrap();
    erp.execute(
        "CREATE TABLE products (sku TEXT, name TEXT, uom TEXT, net TEXT, gross TEXT);
         CREATE TABLE stock (sku TEXT, warehouse TEXT, on_hand TEXT, available TEXT);
         INSERT INTO products VALUES ('PH-1000', 'Pompă de căldură', 'buc', '8999.00', '10888.79'),
            ('CZ-24', 'Centrală', 'buc', NULL, NULL), ('A/B 1', 'Cu spațiu', NULL, '0.10', NULL);
         INSERT INTO stock VALUES ('PH-1000', 'BUC', '7', '5'), ('PH-1000', 'CLJ', '3.5', NULL), ('CZ-24', 'BUC', '0', '0');",
    )
    .await;
    erp
}

#[tokio::test]
async fn the_command_tells_stock_and_price_and_what_is_not_known() {
    let (mirror, _erp) = shop("").await;
    let said = mirror.say(&["stock", "PH-1000", "CZ-24", "--json"]).expect(0);
    let items = said.json()["items"].clone();
    assert_eq!(
        without_time(&items[0]),
        json!({
            "sku": "PH-1000", "name": "Pompă de căldură", "found": true, "on_hand": "10.5", "available": null, "uom": "buc",
            "warehouses": [
                { "code": "BUC", "name": null, "on_hand": "7", "available": "5" },
                { "code": "CLJ", "name": null, "on_hand": "3.5", "available": null },
            ],
            "price": { "net": "8999.00", "gross": "10888.79", "currency": "RON" },
            "source": "live", "connector": "erp",
        })
    );
    assert_eq!(
        (&items[1]["on_hand"], &items[1]["available"]),
        (&json!("0"), &json!("0"))
    );
    assert_eq!(items[1]["price"]["net"], Value::Null);
    let said = mirror.say(&["stock", "PH-1000", "none"]).expect(1);
    assert!(
        said.stdout.contains("Pompă de căldură") && said.stdout.contains("8999.00 RON"),
        "{said:?}"
    );
    assert!(said.stderr.contains("none: not found"), "{said:?}");
    let said = mirror.say(&["stock", "PH-1000", "--connector", "crm"]).expect(2);
    assert!(said.stderr.contains("those that do: erp"), "{said:?}");
}

fn without_time(item: &Value) -> Value {
    let mut item = item.clone();
    assert!(item.as_object_mut().unwrap().remove("as_of").unwrap().is_string());
    item
}

#[tokio::test]
async fn hostile_skus_are_not_found_and_nothing_else() {
    let (mirror, erp) = shop("").await;
    let long = "x".repeat(10_000);
    let hostile = [
        "'; DROP TABLE products; --",
        "%",
        "PH-100_",
        "{{ 7 * 7 }}",
        r#"["sku","ilike","%"]"#,
        "\u{202e}0001-HP",
        long.as_str(),
    ];
    let said = mirror.say(&[&["stock", "--json"], &hostile[..]].concat()).expect(1);
    for item in said.json()["items"].as_array().unwrap() {
        assert_eq!(
            (&item["found"], &item["error"]),
            (&json!(false), &Value::Null),
            "{item}"
        );
    }
    assert_eq!(erp.value("SELECT count(*) FROM products").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_says_of_a_connector_what_is_wrong_with_it() {
    let (mirror, erp) = shop("").await;
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("ok    connector erp, "), "{said:?}");
    erp.execute("ALTER TABLE stock RENAME TO lager").await;
    let said = mirror.say(&["check"]).expect(1);
    assert!(
        said.stdout.contains("FAIL  connector erp, ") && said.stdout.contains("stock_query"),
        "{said:?}"
    );
}

#[tokio::test]
async fn wrong_keys_of_a_connector_are_named() {
    let (mirror, _erp) = shop("stok_query = \"x\"\nmax_rows = \"many\"\n").await;
    let said = mirror.say(&["config", "show"]).expect(2);
    assert!(
        said.stderr.contains("connectors.erp.stok_query: unknown key")
            && said.stderr.contains("connectors.erp.max_rows: "),
        "{said:?}"
    );
}

#[tokio::test]
async fn the_daemon_tells_stock_and_goes_on_telling_it_while_the_erp_is_away() {
    let (mirror, erp) = shop("cache_for = \"100ms\"\n").await;
    let mut daemon = Daemon::start(&mirror).await;
    let ask_of = async |daemon: &Daemon, what: &str| {
        let (status, text) = daemon.get(what).await;
        let body = serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text));
        (status.as_u16(), body)
    };
    let ask = async |what: &str| ask_of(&daemon, what).await;
    let (status, body) = ask("/api/v1/stock/PH-1000").await;
    assert_eq!((status, &body["items"][0]["on_hand"]), (200, &json!("10.5")));
    let (status, body) = ask("/api/v1/stock/A/B%201?connector=erp").await;
    assert_eq!((status, &body["items"][0]["name"]), (200, &json!("Cu spațiu")));
    assert_eq!(body["items"][0]["on_hand"], Value::Null);
    let (status, body) = ask("/api/v1/stock/none").await;
    assert_eq!((status, &body["items"][0]["found"]), (404, &json!(false)));
    assert_eq!(ask("/api/v1/stock/PH-1000?connector=crm").await.0, 404);
    assert_eq!(ask("/api/v1/stock").await.0, 400);
    let (status, body) = ask("/api/v1/stock?sku=CZ-24&sku=none").await;
    let found: Vec<&Value> = body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["found"])
        .collect();
    assert_eq!((status, found), (200, vec![&json!(true), &json!(false)]));

    erp.execute("ALTER TABLE stock RENAME TO lager").await;
    crate::daemon::until("what is cached is old", async || {
        ask("/api/v1/stock/PH-1000").await.1["items"][0]["source"] == json!("stale")
    })
    .await;
    let (status, body) = ask("/api/v1/stock/PH-1000").await;
    assert_eq!((status, &body["items"][0]["on_hand"]), (200, &json!("10.5")));
    let (status, body) = ask("/api/v1/stock/PH-2000").await;
    assert_eq!(status, 502, "{body}");
    assert!(body["items"][0]["error"].as_str().unwrap().contains("erp: "), "{body}");
    daemon.reload().await;
    let (status, body) = ask_of(&daemon, "/api/v1/stock/PH-1000").await;
    let item = &body["items"][0];
    assert_eq!(
        (status, &item["on_hand"], &item["source"]),
        (200, &json!("10.5"), &json!("stale"))
    );
    erp.execute("ALTER TABLE lager RENAME TO stock").await;
    crate::daemon::until("it is asked again", async || {
        ask_of(&daemon, "/api/v1/stock/PH-1000").await.1["items"][0]["source"] == json!("live")
    })
    .await;
}

#[tokio::test]
async fn no_secret_of_a_connector_is_shown() {
    let (mirror, _erp) = shop("").await;
    let account = mirror.account_config("main", "");
    for (url, problem) in [
        (
            "url = \"postgres://reader@127.0.0.1/erp?sslpassword=S3cret\"",
            "connectors.erp.url: ",
        ),
        (
            "url = \"postgres://reader@127.0.0.1/erp?passwrod=S3cret\"",
            "did you mean password?",
        ),
        ("url = \"S3cret\"", "connectors.erp.url: "),
        (
            "url_file = \"nowhere\"",
            "connectors.erp.url_file: cannot use the secret file",
        ),
    ] {
        mirror.configure(&format!(
            "{account}\n[connectors.erp]\nkind = \"sql\"\n{url}\n{QUERIES}"
        ));
        let said = mirror.say(&["config", "show"]).expect(2);
        assert!(
            said.stderr.contains(problem) && said.stderr.contains("has an error:"),
            "{said:?}"
        );
        assert!(!said.stderr.contains("S3cret"), "{said:?}");
    }
}
