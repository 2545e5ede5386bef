//! What the command line says of rules.

use super::{STOCK_ANSWER, Shop};
use crate::support::database::Database;

#[tokio::test]
async fn a_rule_is_tried_out_without_effects() {
    let shop = Shop::open(Database::sqlite(), STOCK_ANSWER).await;
    let event = r#"{"event": "message.received", "message": {"content": "PH-1000 e pe stoc?"}}"#;
    let said = shop.mirror.say(&["automations", "test", "--event", event]).expect(0);
    assert!(said.stdout.starts_with("stock-answer: runs\n"), "{said:?}");
    assert!(
        said.stdout.contains("answer (reply) would do: ") && said.stdout.contains("10.888,79 lei"),
        "{said:?}"
    );
    assert!(said.stdout.contains("ask (reply) is skipped"), "{said:?}");
    let other = r#"{"event": "message.received", "message": {"content": "Salut"}}"#;
    let said = shop.mirror.say(&["automations", "test", "--event", other]).expect(1);
    assert!(said.stdout.contains("its condition does not hold"), "{said:?}");
    let said = shop.mirror.say(&["automations", "test", "--event", "{"]).expect(2);
    assert!(said.stderr.contains("not JSON"), "{said:?}");
    let listed = shop.mirror.say(&["automations", "list"]).expect(0);
    assert!(listed.stdout.contains("extract, stock, reply, reply"), "{listed:?}");
    assert_eq!(
        shop.mirror.database.value("SELECT count(*) FROM automation_runs").await,
        "0"
    );
}

#[tokio::test]
async fn everything_wrong_with_rules_is_said_with_its_place() {
    let shop = Shop::open(Database::sqlite(), "").await;
    let text = std::fs::read_to_string(shop.mirror.config_path()).unwrap();
    let lines = format!("{text}\n").lines().count();
    let rules = r#"[[automations]]
name = "one"
on = ["message.recieved"]
when = "mesage.content == ''"
max_age = "0s"
[[automations.steps]]
do = "replay"
[[automations.steps]]
do = "reply"
text = "{{ message.content"
[[automations.steps]]
do = "stock"
skus = "{{ x }}"
connector = "crm"
tries = 3
[[automations]]
name = "one"
on = []
"#;
    shop.mirror.write_config(&format!("{text}\n{rules}"));
    let said = shop.mirror.say(&["config", "show"]).expect(2);
    for (line, what) in [
        (
            3,
            "automations.0.on.0: not something that a rule can be asked about; use one of: message.received",
        ),
        (
            4,
            "automations.0.when: the expression reads `mesage`, which there is not",
        ),
        (5, "automations.0.max_age: too short"),
        (
            7,
            "automations.0.steps.0.do: not something that a step does; use one of: extract",
        ),
        (10, "automations.0.steps.1.text: the template is not right"),
        (15, "automations.0.steps.2.tries: unknown field `tries`"),
        (17, "automations.1.name: another rule has this name"),
        (18, "automations.1.on: names nothing to be asked about"),
    ] {
        let place = format!("config.toml:{}:", lines + line);
        let found = said
            .stderr
            .lines()
            .any(|told| told.contains(&place) && told.contains(what));
        assert!(found, "line {line}, {what}:\n{}", said.stderr);
    }
}

#[tokio::test]
async fn a_contact_is_not_written_whose_members_are_not_read() {
    let rule = "[[automations]]\nname = \"vip\"\non = [\"contact.tagged\"]\n[[automations.steps]]\ndo = \"contact\"\nadd_tags = [\"x\"]\n";
    let shop = Shop::open(Database::sqlite(), rule).await;
    shop.mirror.say(&["config", "show"]).expect(0);
    let text = std::fs::read_to_string(shop.mirror.config_path()).unwrap();
    let narrow = "[accounts.main.contacts]\nfields = [\"id\", \"tags\"]\n[accounts.main.webhook]";
    shop.mirror
        .write_config(&text.replace("[accounts.main.webhook]", narrow));
    let said = shop.mirror.say(&["config", "show"]).expect(2);
    assert!(
        said.stderr.contains("automations.0.steps.0: ")
            && said.stderr.contains("accounts.main.contacts.fields has no name"),
        "{said:?}"
    );
}

#[tokio::test]
async fn steps_that_have_nothing_to_work_with_are_refused() {
    let shop = Shop::open(Database::sqlite(), "queries.one = \"SELECT 1 AS one WHERE 'x' = :x\"\n").await;
    let text = std::fs::read_to_string(shop.mirror.config_path()).unwrap();
    let rules = r#"
[[automations]]
name = "one"
on = ["message.received"]
[[automations.steps]]
do = "email"
to = "x@example.com"
subject = "s"
text = "t"
[[automations.steps]]
do = "nats"
subject = "s"
body = {}
[[automations.steps]]
name = "other"
do = "query"
connector = "erp"
query = "two"
[[automations.steps]]
do = "query"
connector = "erp"
query = "one"
[[automations.steps]]
name = "third"
do = "query"
connector = "erp"
query = "one"
parameters = { x = "1", y = "1" }
"#;
    shop.mirror.write_config(&format!("{text}\n{rules}"));
    let said = shop.mirror.say(&["config", "show"]).expect(2);
    for what in [
        "steps.0.do: there is no mail server to send by; add a section [mail]",
        "steps.1.do: there is no NATS server to publish to; add a section [webhooks.nats]",
        "steps.2.query: the connector has no query of this name; there are: one",
        "steps.3.parameters: the query needs :x",
        "steps.4.parameters.y: the query has no :y",
    ] {
        assert!(said.stderr.contains(what), "{what}:\n{}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_key_that_may_not_write_is_found_before_an_answer_is_wanted() {
    let shop = Shop::open(Database::sqlite(), STOCK_ANSWER).await;
    let told = |stdout: &str, word: &str| {
        let mut lines = stdout.lines();
        lines.any(|line| line.starts_with(word) && line.contains("writing for automation stock-answer"))
    };
    let said = shop.mirror.say(&["check", "--account", "main"]);
    assert!(told(&said.stdout, "ok"), "{said:?}");

    let text = std::fs::read_to_string(shop.mirror.config_path()).unwrap();
    let keys = shop.mirror.sandbox.keys();
    let reading = text.replace(keys.full.as_str(), keys.read.as_str());
    shop.mirror.write_config(&reading);
    let said = shop.mirror.say(&["check"]).expect(1);
    assert!(
        told(&said.stdout, "FAIL") && said.stdout.contains("accounts.main.api_key"),
        "{said:?}"
    );
    shop.mirror.assert_exact().await;

    // Who only tries out what would be written needs no permission.
    let harmless = reading.replace("name = \"stock-answer\"\n", "name = \"stock-answer\"\ndry_run = true\n");
    shop.mirror.write_config(&harmless);
    let said = shop.mirror.say(&["check"]);
    assert!(!said.stdout.contains("writing for"), "{said:?}");
}
