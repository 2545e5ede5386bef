//! The demo's shop: its products in a database of its own, and rules by which a visitor who asks is answered.

use std::path::Path;
use std::time::Duration;

use allai_sync::app::App;
use allai_sync::clock::SystemClock;
use allai_sync::config::Config;
use allai_sync::sandbox::{CATALOGUE, ConversationDraft, MessageDraft, Sandbox, SnapshotRow};
use allai_sync::webhooks::{Wanted, register};
use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::net::TcpListener;

use super::super::output;

/// The connector, the rules, and where the sandbox delivers its webhooks.
const SECTIONS: &str = r#"
# The shop's own database; the chatbot's account does not have it.
[connectors.shop]
kind = "sql"
url = "SHOP"
stock_query = """
SELECT p.sku, p.name, 'buc' AS uom, s.warehouse, s.on_hand
FROM products p JOIN stock s ON s.sku = p.sku WHERE p.sku IN (:skus) ORDER BY s.warehouse
"""
price_query = "SELECT sku, net, gross, 'RON' AS currency FROM products WHERE sku IN (:skus)"
catalogue_query = "SELECT sku FROM products WHERE sku > :after ORDER BY sku LIMIT :limit"

[webhooks]
listen = "HOOK"
public_url = "http://HOOK"

[accounts.demo.webhook]
secret = "whsec-demo-of-allai-sync"

# Who asks for stock is told what there is in each warehouse.
[[automations]]
name = "stock-answer"
on = ["message.received"]
when = 'message.content.matches("(?i)stoc|stock|disponibil|available")'
[[automations.steps]]
name = "products"
do = "extract"
catalogue = "shop"
[[automations.steps]]
name = "stock"
do = "stock"
skus = "{{ products.skus }}"
when = "products.found"
[[automations.steps]]
name = "answer"
do = "reply"
when = "products.found"
text = """
{% for item in stock['items'] %}{{ item.name }}: {{ item.on_hand|quantity }} {{ item.uom }}\
{% for place in item.warehouses %}{{ ' (' if loop.first else ', ' }}{{ place.code }} {{ place.on_hand|quantity }}\
{{ ')' if loop.last else '' }}{% endfor %}, {{ item.price.gross|money }} lei cu TVA. {% endfor %}
"""
[[automations.steps]]
name = "ask"
do = "reply"
when = "!products.found && size(products.ambiguous) > 0"
text = """
La care vă referiți: {% for choice in products.ambiguous[0].choices %}{{ choice.name }} ({{ choice.sku }})\
{{ ', ' if not loop.last else '' }}{% endfor %}?
"""

# Who asks what several cost gets the total.
[[automations]]
name = "price-answer"
on = ["message.received"]
when = 'message.content.matches("(?i)cost|preț|pret|ofert|how much|price")'
[[automations.steps]]
name = "products"
do = "extract"
catalogue = "shop"
[[automations.steps]]
name = "prices"
do = "price"
when = "products.found"
connector = "shop"
items = "{{ products.items }}"
vat = 21
[[automations.steps]]
do = "reply"
when = "products.found && prices.found"
text = """
{% for line in prices.lines %}{{ line.quantity|quantity }} × {{ line.sku }}: {{ line.net|money }} lei fără TVA. {% endfor %}\
Total: {{ prices.total.net|money }} + TVA {{ prices.vat_percent }} % {{ prices.total.vat|money }} = {{ prices.total.gross|money }} lei.
"""
"#;

/// How often is looked for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a visitor of the demo says, one after the other.
const QUESTIONS: [&str; 3] = [
    "Bună ziua! Aveți pe stoc tastatura mecanică și TEL-S9?",
    "Do you have a laptop in stock?",
    "Cât costă 3 bucăți MON-27Q?",
];

/// Makes the shop's database, and the sections of the configuration that are about it.
pub(super) async fn open(folder: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(folder.join("shop.db")).context("cannot tell where the shop's database goes")?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the last demo's {}", path.display()));
        }
        _ => {}
    }
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut shop = options.connect().await.context("cannot make the shop's database")?;
    fill(&mut shop).await.context("cannot fill the shop's database")?;
    shop.close().await?;
    let hook = TcpListener::bind("127.0.0.1:0")
        .await
        .context("there is no free port")?;
    let hook = hook.local_addr().context("cannot tell where webhooks go")?.to_string();
    let url = format!("sqlite://{}", path.display());
    Ok(SECTIONS.replace("\"SHOP\"", &format!("{url:?}")).replace("HOOK", &hook))
}

#[expect(clippy::disallowed_methods, reason = "this is not the warehouse")]
async fn fill(shop: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, net TEXT NOT NULL, gross TEXT NOT NULL) STRICT;
         CREATE TABLE stock (sku TEXT NOT NULL, warehouse TEXT NOT NULL, on_hand INTEGER NOT NULL, PRIMARY KEY (sku, warehouse)) STRICT;",
    )
    .execute(&mut *shop)
    .await?;
    for product in &CATALOGUE {
        // Without VAT at 21 %, to the ban.
        let net = (product.price_bani * 100 + 60) / 121;
        let amount = |bani: u32| format!("{}.{:02}", bani / 100, bani % 100);
        sqlx::query("INSERT INTO products VALUES (?, ?, ?, ?)")
            .bind(product.sku)
            .bind(product.name)
            .bind(amount(net))
            .bind(amount(product.price_bani))
            .execute(&mut *shop)
            .await?;
        let in_cluj = product.stock / 3;
        for (warehouse, on_hand) in [("București", product.stock - in_cluj), ("Cluj", in_cluj)] {
            sqlx::query("INSERT INTO stock VALUES (?, ?, ?)")
                .bind(product.sku)
                .bind(warehouse)
                .bind(on_hand)
                .execute(&mut *shop)
                .await?;
        }
    }
    Ok(())
}

/// Has the sandbox deliver its events to the daemon.
pub(super) async fn subscribe(app: &App, config: &Config) -> anyhow::Result<()> {
    let clock = SystemClock::shared();
    for account in &app.accounts {
        if let Some(wanted) = Wanted::of(config, &account.name) {
            register(&account.client, &app.warehouse, &clock, &wanted, false).await?;
        }
    }
    Ok(())
}

/// A visitor asks, and the rules answer; prints what is said as it is said.
pub(super) async fn converse(sandbox: &Sandbox) -> anyhow::Result<()> {
    let account = sandbox.account();
    let conversation = account.insert_conversation(ConversationDraft {
        visitor_name: Some("Ana Pop".to_owned()),
        channel: Some("website".to_owned()),
        ..ConversationDraft::default()
    });
    output::print("\nA visitor asks; the shop's database answers, by two rules in the demo's config.toml:\n\n")?;
    let clock = SystemClock::shared();
    for (asked, question) in QUESTIONS.into_iter().enumerate() {
        let said = MessageDraft {
            role: "visitor".to_owned(),
            content: question.to_owned(),
        };
        account.insert_message(&conversation, said);
        output::print(&format!("  visitor: {question}\n"))?;
        let since = clock.monotonic();
        let answer = loop {
            let snapshot = account.snapshot();
            let messages = snapshot.messages.get(&conversation).into_iter().flatten();
            let of_shop = messages
                .filter_map(SnapshotRow::value)
                .filter(|row| row["role"] == "agent");
            if let Some(answer) = of_shop.into_iter().nth(asked) {
                break answer["content"].as_str().unwrap_or_default().to_owned();
            }
            clock.sleep(LOOK_EVERY).await;
        };
        let took = clock.monotonic().saturating_sub(since);
        output::print(&format!("  shop:    {answer} [{} ms]\n", took.as_millis()))?;
    }
    output::print("\nWhat the rules did, step by step: allai-sync automations runs, with -c as above.\n")?;
    Ok(())
}
