//! The REST connector, against a system that asks for every kind of login and lists in every way, and against fakes of what is
//! known of NextUp and Nexus.

use std::time::Duration;

use allai_connectors::rest::{Rest, RestConfig};
use allai_connectors::{Connector, Crm, Entity, Erp, Error, Figures, Key, PriceQuery};
use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::conformance::{self, Desk, Shelf, drained, hostile};
use crate::support::rest::{Door, Fake, Pages, SECRET, product};
use crate::support::words::{ODD, are_good, bad, number, on_hand, strings, told};
use crate::support::{nextup, nexus};

const DOORS: [Door; 8] = [
    Door::Open,
    Door::Basic,
    Door::Bearer,
    Door::Header,
    Door::Oauth,
    Door::Session,
    Door::PoliteSession,
    Door::Cookie,
];

const COLUMNS: &str = r#"
places = "places"
columns = { sku = "sku", name = "name", barcode = "ean", uom = "unit", warehouse = "code", warehouse_name = "name", on_hand = "qty", reserved = "reserved" }
"#;

const PRICES_AND_SEARCH: &str = r#"
[prices]
path = "prices/{{ sku }}"
items = "data"
zero_is_unknown = true
columns = { sku = "sku", net = "net", currency = "currency" }
[search]
path = "search"
query = { q = "{{ words }}", limit = "{{ limit }}" }
items = "data"
columns = { sku = "sku", name = "name" }
"#;

fn one_by_one() -> String {
    format!("[stock]\npath = \"items/{{{{ sku }}}}/stock\"\nitems = \"data\"\n{COLUMNS}{PRICES_AND_SEARCH}")
}

fn many_at_once() -> String {
    format!(
        "[stock]\npath = \"stock\"\nbody = {{ skus = \"{{{{ skus }}}}\" }}\nitems = \"data\"\nbatch = 20\n{COLUMNS}{PRICES_AND_SEARCH}"
    )
}

/// Everything, page by page.
fn listed(pages: Pages) -> String {
    let (query, paging) = match pages {
        Pages::Number => ("page = \"{{ page }}\", size = \"{{ size }}\"", "style = \"page\""),
        Pages::Offset => ("offset = \"{{ offset }}\", size = \"{{ size }}\"", "style = \"offset\""),
        Pages::Cursor => ("after = \"{{ cursor }}\"", "style = \"cursor\", next = \"next\""),
        Pages::Link => ("size = \"{{ size }}\"", "style = \"link\""),
        Pages::NextUrl => ("size = \"{{ size }}\"", "style = \"next_url\", next = \"next\""),
    };
    format!(
        "[stock]\npath = \"list\"\nquery = {{ {query} }}\nitems = \"data\"\npaging = {{ {paging}, size = 50 }}\n{COLUMNS}{PRICES_AND_SEARCH}"
    )
}

async fn shop(door: Door, pages: Pages) -> Fake {
    let fake = Fake::start(door, pages).await;
    let both = |one: Value, other: Value| [("B", one, json!(0)), ("C", other, json!("0.05"))];
    fake.put(product(
        "PH-1000",
        "Pompă de căldură 10 kW",
        &json!("8999.00"),
        &both(json!(0.1), json!("0.2")),
    ));
    fake.put(product("CZ-24", "Centrală 24 kW", &json!(0), &both(json!(0), json!(0))));
    fake.put(product(
        "PH_2000",
        "Heat pump of 20 kW",
        &json!(12000),
        &both(json!(3), json!(4)),
    ));
    fake.put(product("SV-1", "Montaj", &json!(121), &[]));
    for code in ODD {
        fake.put(product(code, "Odd", &json!(1), &both(json!(1), json!(0))));
    }
    fake
}

fn shelf() -> Shelf {
    let figures = |on_hand: &str, available: Option<&str>| Figures {
        on_hand: number(on_hand),
        available: available.and_then(number),
    };
    Shelf {
        stocked: (
            "PH-1000".to_owned(),
            figures("0.3", Some("0.25")),
            vec![
                ("B".to_owned(), figures("0.1", Some("0.1"))),
                ("C".to_owned(), figures("0.2", Some("0.15"))),
            ],
        ),
        sold_out: "CZ-24".to_owned(),
        unknown: Some("SV-1".to_owned()),
        odd: strings(&ODD),
        word: ("pump of".to_owned(), strings(&["PH_2000"])),
        priced: ("PH-1000".to_owned(), Decimal::new(8999, 0), "RON".to_owned()),
        priceless: "CZ-24".to_owned(),
    }
}

#[tokio::test]
async fn it_is_an_erp_like_any_other_whatever_the_login() {
    for door in DOORS {
        let fake = shop(door, Pages::Number).await;
        conformance::erp(&fake.connector(&one_by_one()), &shelf()).await;
        let granted = fake.state().granted;
        let logs_in = !matches!(door, Door::Open | Door::Basic | Door::Bearer | Door::Header);
        assert_eq!(granted, usize::from(logs_in), "{door:?}: one login for all");
    }
}

#[tokio::test]
async fn it_is_an_erp_like_any_other_whatever_the_pages() {
    for pages in [Pages::Number, Pages::Offset, Pages::Cursor, Pages::Link, Pages::NextUrl] {
        let fake = shop(Door::Open, pages).await;
        conformance::erp(&fake.connector(&listed(pages)), &shelf()).await;
    }
}

#[tokio::test]
async fn many_skus_are_few_requests() {
    let fake = shop(Door::Open, Pages::Number).await;
    let rest = fake.connector(&many_at_once());
    conformance::erp(&rest, &shelf()).await;
    let before = fake.state().asked.len();
    let mut skus: Vec<String> = (0..39).map(|number| format!("not-there-{number}")).collect();
    skus.push("PH-1000".to_owned());
    assert_eq!(told(&rest.stock(&skus).await.unwrap()), [("PH-1000", number("0.3"))]);
    assert_eq!(fake.state().asked.len(), before + 2, "20 in each");
    // Those who ask at a time ask together.
    let before = fake.state().asked.len();
    let lookup = async |sku: &str| rest.stock(&strings(&[sku])).await.unwrap().len();
    let found: usize = join_all((0..60).map(|_| lookup("CZ-24"))).await.iter().sum();
    assert_eq!(found, 60);
    assert!(fake.state().asked.len() <= before + 2);
}

#[tokio::test]
async fn nothing_that_is_asked_for_gets_out_of_its_place() {
    let fake = shop(Door::Session, Pages::Number).await;
    let rest = fake.connector(&one_by_one());
    for text in hostile() {
        rest.stock(std::slice::from_ref(&text)).await.unwrap();
        rest.search(&text, 5).await.unwrap();
    }
    for asked in &fake.state().asked {
        let segments = asked.segments();
        match segments[0].as_str() {
            "login" => assert_eq!(asked.json(), json!({"user": "ana", "pass": SECRET})),
            "items" => assert!(
                segments.len() == 3 && segments[2] == "stock" && asked.params().is_empty(),
                "{asked:?}"
            ),
            "search" => assert_eq!(asked.params(), ["limit", "q"], "{asked:?}"),
            _ => panic!("{asked:?}"),
        }
    }
    let whole = fake.connector(&many_at_once());
    whole.stock(&hostile()).await.unwrap();
    for asked in fake.state().asked.iter().filter(|asked| asked.segments() == ["stock"]) {
        let body = asked.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        assert!(body["skus"].as_array().unwrap().iter().all(Value::is_string), "{body}");
    }
}

#[tokio::test]
async fn a_session_is_renewed_when_it_is_refused_and_one_renews_it_for_all() {
    for door in [Door::Oauth, Door::Session, Door::PoliteSession, Door::Cookie] {
        let fake = shop(door, Pages::Number).await;
        let rest = fake.connector(&one_by_one());
        let lookup = async || told(&rest.stock(&strings(&["PH-1000"])).await.unwrap()).len();
        fake.state().holds = 2;
        for _ in 0..5 {
            assert_eq!(lookup().await, 1, "{door:?}");
        }
        assert_eq!(
            fake.state().granted,
            3,
            "{door:?}: renewed when it was refused, and not else"
        );
        {
            let mut state = fake.state();
            state.holds = usize::MAX;
            state.granted = 7;
        }
        join_all((0..8).map(|_| async { assert_eq!(lookup().await, 1) })).await;
        assert_eq!(fake.state().granted, 8, "{door:?}: one renewed it for all");
        fake.state().holds = 0;
        let before = fake.state().granted;
        let error = rest.stock(&strings(&["PH-1000"])).await.unwrap_err();
        assert!(matches!(error, Error::Auth { .. }), "{door:?}: {error:?}");
        assert_eq!(fake.state().granted, before + 1, "{door:?}: once, and no more");
    }
}

#[tokio::test]
async fn a_token_is_renewed_shortly_before_its_end() {
    for door in [Door::Oauth, Door::Session] {
        let fake = shop(door, Pages::Number).await;
        fake.state().says = 1;
        let rest = fake.connector(&one_by_one());
        let lookup = async || rest.stock(&strings(&["PH-1000"])).await.unwrap().len();
        lookup().await;
        lookup().await;
        assert_eq!(fake.state().granted, 1, "{door:?}: it still holds");
        #[expect(clippy::disallowed_methods, reason = "a token expires by the machine's clock")]
        tokio::time::sleep(Duration::from_millis(920)).await;
        lookup().await;
        assert_eq!(fake.state().granted, 2, "{door:?}: renewed before its end");
    }
}

#[tokio::test]
async fn pages_lead_nowhere_else_and_end() {
    for pages in [Pages::Link, Pages::NextUrl] {
        let fake = shop(Door::Bearer, pages).await;
        let other = Fake::start(Door::Open, pages).await;
        fake.state().leads_to = Some(format!("{}/list?from=3", other.url));
        let error = fake
            .connector(&listed(pages))
            .stock(&strings(&["PH-1000"]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("another server"), "{error}");
        assert!(other.state().asked.is_empty(), "and no credentials went there");
        fake.state().leads_to = Some("/api/list?from=3".to_owned());
        let error = fake
            .connector(&listed(pages))
            .stock(&strings(&["PH-1000"]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("all the same"), "{error}");
    }
    let fake = shop(Door::Open, Pages::Number).await;
    for number in 0..80 {
        fake.put(product(&format!("A-{number}"), "Pump", &json!(1), &[]));
    }
    let error = fake
        .connector(&listed(Pages::Number))
        .stock(&strings(&["PH-1000"]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not end after 20 pages"), "{error}");
}

#[tokio::test]
async fn no_more_requests_are_sent_than_are_allowed() {
    let fake = shop(Door::Oauth, Pages::Number).await;
    let mut config = fake.config(&one_by_one());
    config.rate = serde_json::from_value(json!({"requests": 3, "per": "100ms"})).unwrap();
    let rest = Rest::new(config).unwrap();
    let skus: Vec<String> = (0..12).map(|number| format!("A-{number}")).collect();
    rest.stock(&skus).await.unwrap();
    let at: Vec<_> = fake.state().asked.iter().map(|asked| asked.at).collect();
    assert_eq!(at.len(), 13, "the login counts too");
    for window in at.windows(4) {
        let took = window[3].duration_since(window[0]);
        assert!(took >= Duration::from_millis(95), "four within {took:?}");
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_neither_secrets_nor_what_was_asked() {
    let sku = "0722111222";
    for (answer, kind) in [
        ((401, json!({"x": sku})), "Auth"),
        ((403, json!({"x": sku})), "Forbidden"),
        ((400, json!({"x": sku})), "Rejected"),
        ((500, json!(sku)), "Transient"),
        ((200, json!({"other": sku})), "Unreadable"),
        ((200, json!({"error": format!("no {sku}")})), "Rejected"),
        ((200, json!({"error": format!("expired {sku}")})), "Auth"),
    ] {
        let fake = shop(Door::Session, Pages::Number).await;
        fake.state().instead = Some((answer.0, answer.1.to_string()));
        let rest = fake.connector(&one_by_one());
        let error = rest.stock(&strings(&[sku])).await.unwrap_err();
        let shown = format!("{error:?} {error} {rest:?}");
        assert!(shown.starts_with(kind), "{kind}: {shown}");
        assert!(
            !shown.contains(sku) && !shown.contains(SECRET) && !shown.contains("token-"),
            "{shown}"
        );
    }
    // Status 404 is about what is in the path; where nothing is, it is about the path.
    let fake = shop(Door::Open, Pages::Number).await;
    let rest = fake.connector(&many_at_once().replace("path = \"stock\"", "path = \"stoc\""));
    let error = rest.stock(&strings(&[sku])).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn numbers_come_out_as_they_were_written() {
    let fake = Fake::start(Door::Open, Pages::Number).await;
    let body = r#"{"data": {"sku": "N", "net": 8999.10, "currency": "RON", "places": [{"code": 1, "qty": 1234567890.123456789}]}}"#;
    fake.state().instead = Some((200, body.to_owned()));
    let rest = fake.connector(&one_by_one());
    let stock = rest.stock(&strings(&["N"])).await.unwrap();
    assert_eq!(stock[0].total.on_hand, number("1234567890.123456789"));
    let prices = rest.prices(&strings(&["N"]), &PriceQuery::default()).await.unwrap();
    assert_eq!(prices[0].net, number("8999.10"));
}

#[tokio::test]
async fn a_price_list_is_used_or_refused() {
    let fake = shop(Door::Open, Pages::Number).await;
    let query = PriceQuery {
        quantity: number("2.5"),
        price_list: Some("angro&x".to_owned()),
    };
    let skus = strings(&["PH-1000"]);
    let error = fake.connector(&one_by_one()).prices(&skus, &query).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let using = one_by_one().replace(
        "path = \"prices/{{ sku }}\"",
        "path = \"prices/{{ sku }}\"\nquery = { n = \"{{ quantity }}\", list = \"{{ price_list }}\" }",
    );
    let rest = fake.connector(&using);
    assert_eq!(rest.prices(&skus, &query).await.unwrap().len(), 1);
    let last = fake.state().asked.last().unwrap().clone();
    assert_eq!((last.param("n"), last.param("list")), (Some("2.5"), Some("angro&x")));
    rest.prices(&skus, &PriceQuery::default()).await.unwrap();
    assert!(
        fake.state().asked.last().unwrap().params().is_empty(),
        "what is not said is left out"
    );
}

#[tokio::test]
async fn a_check_says_what_is_wrong_and_what_to_do() {
    let fake = shop(Door::Session, Pages::Number).await;
    let with_sku = |sku: &str| {
        let mut config = fake.config(&one_by_one());
        config.check_sku = Some(sku.to_owned());
        config
    };
    let checks = Rest::new(with_sku("PH-1000")).unwrap().check().await;
    assert!(are_good(&checks) && checks.len() == 4, "{checks:?}");
    assert!(
        format!("{checks:?}").contains("0.3 on hand, 0.25 available, 2 warehouses"),
        "{checks:?}"
    );
    let checks = Rest::new(with_sku("no-such")).unwrap().check().await;
    assert!(bad(&checks, "stock").0.contains("no-such is not found"));
    let checks = Rest::new(with_sku("SV-1")).unwrap().check().await;
    assert!(bad(&checks, "stock").1.contains("stock.columns.on_hand"));
    let checks = Rest::new(with_sku("CZ-24")).unwrap().check().await;
    assert!(bad(&checks, "prices").0.contains("no price"));
    let mut config = fake.config(&one_by_one());
    config.password = Some("wrong-secret".into());
    let checks = Rest::new(config).unwrap().check().await;
    assert!(
        bad(&checks, "credentials").1.contains("username and password"),
        "{checks:?}"
    );
    assert!(!format!("{checks:?}").contains("wrong-secret"));
    fake.state().instead = Some((200, "{\"dta\": []}".to_owned()));
    let checks = fake.connector(&one_by_one()).check().await;
    assert!(
        bad(&checks, "stock").0.contains("stock.items finds nothing"),
        "{checks:?}"
    );
}

#[test]
fn a_configuration_is_read_as_a_whole_before_anything_is_sent() {
    for (keys, field) in [
        (json!({"url": null}), "url"),
        (json!({"url": "http://erp.example.com"}), "url"),
        (json!({"stock": null}), "stock"),
        (json!({"auth": "bearer"}), "token"),
        (json!({"auth": "basic"}), "username"),
        (json!({"auth": "basic", "username": "a:b", "password": "x"}), "username"),
        (json!({"auth": "header", "api_key": "x", "header": "a b"}), "header"),
        (
            json!({"auth": "oauth2", "client_id": "x", "client_secret": "x"}),
            "oauth",
        ),
        (
            json!({"auth": "oauth2", "client_id": "x", "client_secret": "x", "oauth": {"url": "http://login.example.com/token"}}),
            "oauth.url",
        ),
        (json!({"auth": "session", "session": {"path": "x"}}), "session.value"),
        (
            json!({"auth": "session", "session": {"path": "x", "value": "t", "body": {"p": "{{ password }}"}}}),
            "password",
        ),
        (
            json!({"stock": {"path": "s", "columns": {"on_hand": "q"}}}),
            "stock.columns",
        ),
        (
            json!({"stock": {"path": "{{ password }}", "columns": {"on_hand": "q", "sku": "s"}}}),
            "stock.path",
        ),
        (json!({"errors": [{"when": "a["  , "is": "auth"}]}), "errors.0.when"),
        (json!({"headers": {"X": "{{ sku }}"}}), "headers.X"),
        (json!({"timeout": "0s"}), "timeout"),
        (
            json!({"preset": "nextup", "username": "x", "password": "x"}),
            "session.body.Params.Database",
        ),
        (json!({"contacts": {"fields": {}}}), "contacts.fields"),
        (
            json!({"contacts": {"fields": {"name": {}}, "find_by_email": {"path": "x/{{ key }}"}}}),
            "contacts.email_field",
        ),
    ] {
        let mut config = json!({"url": "https://erp.example.com/api",
            "stock": {"path": "s/{{ sku }}", "columns": {"on_hand": "q"}}});
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config: RestConfig = serde_json::from_value(config).unwrap();
        match Rest::new(config) {
            Err(Error::Rejected { field: told, .. }) => assert_eq!(told.as_deref(), Some(field), "{keys}"),
            other => panic!("{keys}: {other:?}"),
        }
    }
}

const CONTACTS: &str = r#"
[contacts]
changed_at = "updated_ms"
email_field = "email"
phone_field = "phone"
[contacts.fields]
name = { label = "Nume" }
email = {}
phone = {}
score = { takes = "number", path = "details.score" }
owner = { read_only = true }
[contacts.find_by_id]
path = "contacts/{{ key }}"
items = "data"
[contacts.find_by_email]
path = "contacts"
query = { email = "{{ key }}", page = "{{ page }}" }
items = "data"
paging = { style = "page" }
[contacts.find_by_phone]
path = "contacts"
query = { phone = "{{ key }}", page = "{{ page }}" }
items = "data"
paging = { style = "page" }
[contacts.create]
path = "contacts"
body = { contact = "{{ fields }}" }
columns = { id = "data.id" }
[contacts.update]
path = "contacts/{{ id }}"
body = { contact = "{{ fields }}" }
[contacts.changes]
path = "contacts"
query = { since = "{{ since }}", page = "{{ page }}", size = "{{ size }}" }
items = "data"
oldest_first = true
paging = { style = "page", max_pages = 2 }
"#;

async fn office() -> Fake {
    let fake = Fake::start(Door::Bearer, Pages::Number).await;
    let contact = |id: u32, email: &str, at: u32| json!({"id": id, "name": "Ana", "email": email, "updated_ms": 1_700_000_000_000_u64 + u64::from(at)});
    fake.state().contacts = (0..20)
        .map(|at| contact(at + 100, &format!("c{at}@example.ro"), at))
        .collect();
    for id in [50, 51] {
        fake.state().contacts.push(contact(id, "Dublu@example.ro", 100));
    }
    fake
}

#[tokio::test]
async fn its_contacts_are_a_crm_like_any_other() {
    for key in [
        Key::Email("conformance@example.ro".to_owned()),
        Key::Phone("+40722999888".to_owned()),
    ] {
        let fake = office().await;
        let desk = Desk {
            entity: Entity::Contact,
            key,
            text: "name".to_owned(),
            needed: [].into(),
            shared: Some(Key::Email("dublu@example.ro".to_owned())),
        };
        conformance::crm(&fake.connector(CONTACTS), &desk).await;
    }
}

#[tokio::test]
async fn only_what_differs_is_sent_and_a_lost_answer_makes_no_duplicate() {
    let fake = office().await;
    let rest = fake.connector(CONTACTS);
    let key = Key::Email("nou@example.ro".to_owned());
    let fields = |name: &str| {
        [
            ("name".to_owned(), json!(name)),
            ("phone".to_owned(), json!("+40722000111")),
        ]
        .into()
    };
    rest.upsert(Entity::Contact, &key, &fields("Ana")).await.unwrap();
    rest.upsert(Entity::Contact, &key, &fields("Maria")).await.unwrap();
    let last = fake.state().asked.last().unwrap().clone();
    assert_eq!(
        (last.method.as_str(), last.json()),
        ("PATCH", json!({"contact": {"name": "Maria"}}))
    );
    // The key went with the fields, without which it would not be found again.
    let created = fake
        .state()
        .asked
        .iter()
        .find(|asked| asked.method == "POST")
        .unwrap()
        .json();
    assert_eq!(created["contact"]["email"], "nou@example.ro");
    fake.state().loses = true;
    let missed = Key::Email("pierdut@example.ro".to_owned());
    let error = rest.upsert(Entity::Contact, &missed, &fields("Ana")).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Transient {
                may_have_happened: true,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        !rest
            .upsert(Entity::Contact, &missed, &fields("Ana"))
            .await
            .unwrap()
            .created,
        "it is there"
    );
    let before = fake.state().contacts.len();
    let writes = |fake: &Fake| fake.state().asked.iter().filter(|asked| asked.method != "GET").count();
    let (written, other) = (writes(&fake), Key::Email("alt@example.ro".to_owned()));
    let wrong = [("email".to_owned(), json!("else@example.ro"))].into();
    let error = rest.upsert(Entity::Contact, &other, &wrong).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    let both = join_all((0..2).map(|_| async { rest.upsert(Entity::Contact, &other, &fields("Ion")).await })).await;
    assert_eq!(both.iter().filter(|one| one.as_ref().unwrap().created).count(), 1);
    assert_eq!(writes(&fake), written + 1);
    assert_eq!(fake.state().contacts.len(), before + 1);
}

#[tokio::test]
async fn more_changes_than_pages_come_next_time() {
    let fake = office().await;
    let rest = fake.connector(CONTACTS);
    let first = rest.changes_since(Entity::Contact, None).await.unwrap();
    assert!(first.more && first.records.len() == 6, "two pages of three");
    let (rest_of_them, cursor) = drained(&rest, Entity::Contact, Some(&first.cursor)).await;
    assert!(rest_of_them.contains(&"119".to_owned()) && rest_of_them.contains(&"51".to_owned()));
    let error = rest.changes_since(Entity::Lead, Some(&cursor)).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    // All at one time are more than can be read: said, rather than passed over.
    for contact in &mut fake.state().contacts {
        contact["updated_ms"] = json!(1_700_000_000_000_u64);
    }
    let at_once = rest.changes_since(Entity::Contact, None).await.unwrap();
    let error = rest
        .changes_since(Entity::Contact, Some(&at_once.cursor))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("max_pages"), "{error}");
}

async fn nextup_company() -> nextup::Fake {
    let fake = nextup::Fake::start().await;
    let both = |one: Value, other: Value| [("Depozit", one), ("Magazin", other)];
    let mut articles = vec![
        nextup::article(
            "PH-1000",
            "Pompă de căldură 10 kW",
            &json!(8999.00),
            &both(json!(0.1), json!(0.2)),
        ),
        nextup::article("CZ-24", "Centrală 24 kW", &json!(0), &both(json!(0), json!(0))),
        nextup::article(
            "PH_2000",
            "Heat pump of 20 kW",
            &json!(12000),
            &both(json!(3), json!(4)),
        ),
        nextup::article("SV-1", "Montaj", &json!(121), &[]),
    ];
    articles.extend(ODD.map(|code| nextup::article(code, "Odd", &json!(1), &both(json!(1), json!(0)))));
    fake.state().articles = articles;
    fake
}

#[tokio::test]
async fn nextup_is_an_erp_like_any_other() {
    let fake = nextup_company().await;
    let shelf = Shelf {
        stocked: (
            "PH-1000".to_owned(),
            on_hand("0.3"),
            vec![
                ("Depozit".to_owned(), on_hand("0.1")),
                ("Magazin".to_owned(), on_hand("0.2")),
            ],
        ),
        ..shelf()
    };
    conformance::erp(&fake.connector(&json!({})), &shelf).await;
    assert_eq!(fake.state().tokens, 1);
    for asked in &fake.state().asked {
        let question = asked.json();
        let keys: Vec<&String> = question.as_object().unwrap().keys().collect();
        assert!(
            keys.iter()
                .all(|key| ["AuthenticationToken", "Method", "Params"].contains(&key.as_str())),
            "{question}"
        );
    }
}

#[tokio::test]
async fn nextups_token_is_renewed_and_its_credentials_are_checked() {
    let fake = nextup_company().await;
    let rest = fake.connector(&json!({"check_sku": "PH-1000"}));
    fake.state().holds = 2;
    for _ in 0..5 {
        assert_eq!(rest.stock(&strings(&["ph-1000"])).await.unwrap().len(), 1);
    }
    assert_eq!(fake.state().tokens, 3);
    fake.state().holds = usize::MAX;
    assert!(are_good(&rest.check().await));
    let wrong = fake.connector(&json!({"password": "wrong"})).check().await;
    assert!(
        bad(&wrong, "credentials").0.contains("Invalid credentials"),
        "{wrong:?}"
    );
    // A product of that name does not end the session.
    let stock = rest.stock(&strings(&["AuthenticationToken"])).await.unwrap();
    assert!(stock.is_empty());
    let tokens = fake.state().tokens;
    rest.stock(&strings(&["PH-1000"])).await.unwrap();
    assert_eq!(fake.state().tokens, tokens);
}

#[tokio::test]
async fn nexus_is_an_erp_like_any_other() {
    for as_text in [false, true] {
        let fake = nexus::Fake::start(as_text).await;
        {
            let mut state = fake.state();
            for (id, name, net, quantities) in [
                (
                    "PH-1000",
                    "Pompă de căldură 10 kW",
                    json!(8999.00),
                    [json!(0.1), json!(0.2)],
                ),
                ("CZ-24", "Centrală 24 kW", json!(0), [json!(0), json!(0)]),
                ("PH_2000", "Heat pump of 20 kW", json!(12000), [json!(3), json!(4)]),
            ] {
                for (quantity, place) in quantities.into_iter().zip(["1(1)", "6(1)"]) {
                    state.lots.push(nexus::lot(id, name, place, &quantity));
                }
                state.prices.push(nexus::price(id, name, &net));
            }
            // Another lot of what there is none of: added up, it is still none.
            state
                .lots
                .push(nexus::lot("CZ-24", "Centrală 24 kW", "1(1)", &json!("0.000")));
            for id in ODD {
                state.lots.push(nexus::lot(id, "Odd", "1(1)", &json!(1)));
                state.prices.push(nexus::price(id, "Odd", &json!(1)));
            }
        }
        let shelf = Shelf {
            stocked: (
                "PH-1000".to_owned(),
                on_hand("0.3"),
                vec![("1(1)".to_owned(), on_hand("0.1")), ("6(1)".to_owned(), on_hand("0.2"))],
            ),
            unknown: None,
            ..shelf()
        };
        conformance::erp(&fake.connector(&json!({})), &shelf).await;
        let checks = fake.connector(&json!({"check_sku": "PH-1000"})).check().await;
        assert!(are_good(&checks), "{checks:?}");
        let checks = fake.connector(&json!({"api_key": "wrong"})).check().await;
        assert!(bad(&checks, "stock").1.contains("api_key"), "{checks:?}");
    }
}
