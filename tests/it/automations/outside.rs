//! Steps that ask a database, send mail and publish.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::Shop;
use crate::daemon::{Daemon, until};
use crate::forwarding::{jetstream, nats_server};
use crate::support::database::Database;
use crate::support::mail::strict_mail_server;
use crate::support::on_both_databases;
use crate::webhooks::{free_port, register, say};

on_both_databases! {
    who_asks_for_an_order_is_told_its_status,
    a_person_is_sent_for_by_mail_and_what_the_visitor_wrote_is_no_header,
    what_happened_is_published_once,
}

async fn who_asks_for_an_order_is_told_its_status(database: Database) {
    let rules = r#"queries.order_status = "SELECT status, day FROM orders WHERE number = :number AND visitor = :visitor"
[[automations]]
name = "order-status"
on = ["message.received"]
when = 'message.content.contains("comanda")'
[[automations.steps]]
name = "asked"
do = "extract"
pattern = '#(?P<number>\S.*)'
[[automations.steps]]
name = "order"
do = "query"
connector = "erp"
query = "order_status"
parameters = { number = "{{ asked.items[0].number }}", visitor = "{{ conversation.visitor_name }}" }
[[automations.steps]]
do = "reply"
text = "{% for row in order.rows %}{{ row.status }}, {{ row.day }}{% else %}nu o găsesc{% endfor %}"
"#;
    let shop = Shop::open(database, rules).await;
    shop.erp
        .execute(
            "CREATE TABLE orders (number TEXT, visitor TEXT, status TEXT, day TEXT);
             INSERT INTO orders VALUES ('1042', 'Ana', 'expediată', '2026-11-27'), ('1043', 'Ion', 'plătită', '2026-11-28');",
        )
        .await;
    let checked = shop.mirror.say(&["check"]);
    assert!(checked.stdout.contains("queries.order_status"), "{checked:?}");
    let _daemon = Daemon::start(&shop.mirror).await;
    register(&shop.mirror, &shop.hook).await;
    let conversation = shop.conversation();
    for (asked, answers) in [("#1042", 1), ("#1043", 2), ("#1' OR '1'='1", 3)] {
        say(&shop.mirror, &conversation, &format!("unde e comanda {asked}")).await;
        shop.until_answered(&conversation, answers).await;
    }
    assert_eq!(
        shop.answers(&conversation),
        ["expediată, 2026-11-27", "nu o găsesc", "nu o găsesc"]
    );
}

async fn a_person_is_sent_for_by_mail_and_what_the_visitor_wrote_is_no_header(database: Database) {
    let mails = Arc::new(Mutex::new(Vec::new()));
    let server = strict_mail_server(Arc::clone(&mails), "nobody@example.com").await;
    let rules = format!(
        r#"[mail]
server = "{server}"
from = "Magazin <shop@example.com>"
[[automations]]
name = "person"
on = ["message.received"]
[[automations.steps]]
do = "email"
on_error = "continue"
to = ["{{{{ message.content|split('|')|first }}}}", "nina@example.com"]
subject = "Ajutor: {{{{ message.content }}}}"
text = "{{% for said in messages %}}{{{{ said.role }}}}: {{{{ said.content }}}}\n{{% endfor %}}"
[[automations.steps]]
do = "reply"
text = "{{{{ 'nu' if email.failed else 'da' }}}}"
"#
    );
    let shop = Shop::open(database, &rules).await;
    let _daemon = Daemon::start(&shop.mirror).await;
    register(&shop.mirror, &shop.hook).await;
    let conversation = shop.conversation();
    for (said, answers) in [
        ("ion@example.com|Bună\r\nBcc: all@example.com\r\n\r\nx", 1),
        ("ion@example.com\r\nBcc: all@example.com|", 2),
        ("nobody@example.com|", 3),
        ("no address|", 4),
    ] {
        say(&shop.mirror, &conversation, said).await;
        shop.until_answered(&conversation, answers).await;
    }
    let problems = shop
        .mirror
        .database
        .rows("SELECT problem FROM automation_steps WHERE problem IS NOT NULL")
        .await;
    assert_eq!(shop.answers(&conversation), ["da", "nu", "nu", "nu"], "{problems:?}");
    let mails = mails.lock().unwrap().clone();
    let [mail] = &*mails else { panic!("{mails:?}") };
    let (head, _) = mail.split_once("\n\n").unwrap();
    assert!(head.contains("To: ion@example.com, nina@example.com"), "{mail}");
    assert!(
        head.contains("From: Magazin <shop@example.com>") && head.contains("Message-ID: <"),
        "{mail}"
    );
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{mail}");
}

async fn what_happened_is_published_once(database: Database) {
    let port = free_port();
    let rules = format!(
        r#"[webhooks.nats]
url = "nats://127.0.0.1:{port}"
[[automations]]
name = "publish"
on = ["message.received"]
[[automations.steps]]
do = "nats"
subject = "asked.{{{{ conversation.channel or 'web' }}}}"
body = {{ said = "{{{{ message.content }}}}" }}
"#
    );
    let shop = Shop::open(database, &rules).await;
    // Nobody takes it yet: the step is tried again.
    let _daemon = Daemon::start(&shop.mirror).await;
    register(&shop.mirror, &shop.hook).await;
    let conversation = shop.conversation();
    say(&shop.mirror, &conversation, "o întrebare {{ 7 * 7 }}").await;
    until("the step was tried", async || {
        let tried = "SELECT count(*) FROM automation_steps WHERE attempts > 0 AND problem IS NOT NULL";
        shop.mirror.database.value(tried).await == "1"
    })
    .await;
    let _server = nats_server(port, shop.mirror.folder(), "");
    let context = jetstream(port).await;
    until("it is published", async || shop.runs("publish", "done").await == 1).await;
    let stream = context.get_stream("ALLAI").await.unwrap();
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config {
            filter_subject: "allai.main.asked.>".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap();
    let fetched = consumer.fetch().max_messages(10).messages().await.unwrap();
    let bodies: Vec<Value> = fetched
        .map(|message| serde_json::from_slice(&message.unwrap().payload).unwrap())
        .collect()
        .await;
    assert_eq!(bodies, [json!({"said": "o întrebare {{ 7 * 7 }}"})]);
}
