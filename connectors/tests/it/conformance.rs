//! What every connector must do, whatever is behind it: each system's own tests call these, and say what the system holds.

use std::collections::BTreeSet;

use allai_connectors::{Crm, Entity, Erp, Error, Fields, Figures, Key, PriceQuery, Stock};
use rust_decimal::Decimal;
use serde_json::Value;

/// Texts that mean something to somebody: SQL, JSON, filters, wildcards, paths, templates, terminals.
pub(crate) fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "'",
        "\"",
        "\\",
        "%",
        "_",
        "%%",
        "____",
        "\\%",
        "*",
        "?",
        ";",
        "--",
        "' OR '1'='1",
        "'; DELETE FROM x; --",
        "1 OR 1=1",
        "[\"code\",\"ilike\",\"%\"]",
        "[[\"id\",\">\",0]]",
        "{\"__class__\":\"Decimal\",\"decimal\":\"1\"}",
        "{\"$ne\":null}",
        "null",
        "true",
        "None",
        "NaN",
        "0",
        "-1",
        "../../etc/passwd",
        "%2e%2e%2f",
        "a/b?c=d&e#f",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "<script>alert(1)</script>",
        "\r\nX-Header: 1",
        "\u{202e}0001-HP",
        "\u{200b}",
        "\u{feff}",
        "\u{fffd}",
        "e\u{301}",
        "😀",
        "\u{1}",
        "nul\0nul",
        "\0",
        "",
        "   ",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("x".repeat(10_240));
    texts.push("%".repeat(10_240));
    texts
}

/// What an ERP holds.
pub(crate) struct Shelf {
    /// An item, what there is of it in all, and by warehouse code.
    pub(crate) stocked: (String, Figures, Vec<(String, Figures)>),
    /// An item of which there is none: zero, not unknown.
    pub(crate) sold_out: String,
    /// An item of which it is not known how much there is, if the system has such.
    pub(crate) unknown: Option<String>,
    /// SKUs that hold what means something elsewhere, and are in the system all the same.
    pub(crate) odd: Vec<String>,
    /// A word that is in several names, and the SKUs of the items.
    pub(crate) word: (String, Vec<String>),
    /// An item with a price: net and currency; of no meaning to a system that has none.
    pub(crate) priced: (String, Decimal, String),
    /// An item without a price.
    pub(crate) priceless: String,
}

fn asked(stock: &[Stock]) -> Vec<&str> {
    stock.iter().map(|stock| stock.asked.as_str()).collect()
}

/// Everything that any ERP must do.
pub(crate) async fn erp(erp: &dyn Erp, shelf: &Shelf) {
    stock_is_told(erp, shelf).await;
    questions_are_answered_in_their_order(erp, shelf).await;
    hostile_skus_are_found_or_not(erp, shelf).await;
    a_search_finds_codes_first_and_keeps_its_limit(erp, shelf).await;
    prices_are_told_or_left_out(erp, shelf).await;
    the_catalogue_is_listed_piece_by_piece(erp, shelf).await;
}

async fn stock_is_told(erp: &dyn Erp, shelf: &Shelf) {
    let (sku, total, warehouses) = &shelf.stocked;
    let stock = erp.stock(std::slice::from_ref(sku)).await.unwrap();
    assert_eq!(asked(&stock), [sku]);
    assert_eq!(stock[0].item.sku, *sku);
    assert_eq!(stock[0].total, *total);
    assert!(stock[0].as_of.is_some(), "a figure says when");
    let told: Vec<(String, Figures)> = stock[0]
        .warehouses
        .iter()
        .map(|warehouse| (warehouse.code.clone(), warehouse.figures))
        .collect();
    assert_eq!(told, *warehouses);

    let none = erp.stock(std::slice::from_ref(&shelf.sold_out)).await.unwrap();
    assert_eq!(none[0].total.on_hand, Some(Decimal::ZERO), "none is zero");
    for warehouse in &none[0].warehouses {
        assert_eq!(warehouse.figures.on_hand, Some(Decimal::ZERO), "none is zero");
    }
    if let Some(sku) = &shelf.unknown {
        let unknown = erp.stock(std::slice::from_ref(sku)).await.unwrap();
        assert_eq!(asked(&unknown), [sku]);
        assert_eq!(unknown[0].total, Figures::default(), "unknown is not zero");
    }
}

async fn questions_are_answered_in_their_order(erp: &dyn Erp, shelf: &Shelf) {
    let (one, other) = (&shelf.stocked.0, &shelf.sold_out);
    let there = erp
        .stock(&[one.clone(), "not-there".to_owned(), other.clone(), one.clone()])
        .await;
    assert_eq!(asked(&there.unwrap()), [one, other], "each once, the unknown left out");
    let back = erp.stock(&[other.clone(), one.clone()]).await.unwrap();
    assert_eq!(asked(&back), [other, one]);
    assert!(erp.stock(&[]).await.unwrap().is_empty());
    // More than fit into one request of most systems.
    let mut many: Vec<String> = (0..700).map(|number| format!("not-there-{number}")).collect();
    many.push(one.clone());
    assert_eq!(asked(&erp.stock(&many).await.unwrap()), [one]);
}

async fn hostile_skus_are_found_or_not(erp: &dyn Erp, shelf: &Shelf) {
    let hostile = hostile();
    let mut all = hostile.clone();
    all.push(shelf.stocked.0.clone());
    let known: BTreeSet<&String> = shelf.odd.iter().chain([&shelf.stocked.0]).collect();
    let stock = erp.stock(&all).await.unwrap();
    for stock in &stock {
        assert!(known.contains(&stock.asked), "{:?} is not there", stock.asked);
    }
    assert!(
        asked(&stock).contains(&shelf.stocked.0.as_str()),
        "one hostile SKU must not hide the others"
    );
    if erp.capabilities().prices {
        for price in erp.prices(&all, &PriceQuery::default()).await.unwrap() {
            assert!(known.contains(&price.asked), "{:?} is not there", price.asked);
        }
    }
    let odd = erp.stock(&shelf.odd).await.unwrap();
    assert_eq!(asked(&odd), shelf.odd);
    for (stock, sku) in odd.iter().zip(&shelf.odd) {
        assert_eq!(stock.item.sku, *sku);
    }
    for text in &hostile {
        let found = erp.search(text, 50).await.unwrap();
        for item in found {
            let word = text.trim();
            let is_in =
                |text: Option<&String>| text.is_some_and(|text| text.to_lowercase().contains(&word.to_lowercase()));
            assert!(
                is_in(Some(&item.sku)) || is_in(item.name.as_ref()) || is_in(item.barcode.as_ref()),
                "{item:?} has no {text:?}"
            );
        }
    }
}

async fn a_search_finds_codes_first_and_keeps_its_limit(erp: &dyn Erp, shelf: &Shelf) {
    for sku in shelf.odd.iter().chain([&shelf.stocked.0]) {
        let found = erp.search(sku, 5).await.unwrap();
        assert_eq!(found.first().map(|item| &item.sku), Some(sku), "the exact one first");
    }
    let (word, skus) = &shelf.word;
    let found = erp.search(word, 50).await.unwrap();
    let told: BTreeSet<&String> = found.iter().map(|item| &item.sku).collect();
    assert_eq!(told, skus.iter().collect(), "each once, whatever the order");
    assert_eq!(found.len(), skus.len());
    assert_eq!(erp.search(&word.to_uppercase(), 50).await.unwrap().len(), skus.len());
    assert_eq!(erp.search(word, 1).await.unwrap().len(), 1);
    assert!(erp.search(word, 0).await.unwrap().is_empty());
    assert!(erp.search("surely-nowhere", 5).await.unwrap().is_empty());
}

async fn prices_are_told_or_left_out(erp: &dyn Erp, shelf: &Shelf) {
    let (sku, net, currency) = &shelf.priced;
    let question = [
        sku.clone(),
        "not-there".to_owned(),
        shelf.priceless.clone(),
        sku.clone(),
    ];
    let prices = erp.prices(&question, &PriceQuery::default()).await;
    if !erp.capabilities().prices {
        assert!(matches!(prices, Err(Error::Unsupported { .. })), "{prices:?}");
        return;
    }
    let prices = prices.unwrap();
    assert_eq!(prices.len(), 1, "what has no price is left out: {prices:?}");
    assert_eq!(prices[0].asked, *sku);
    assert_eq!(prices[0].net, Some(*net));
    assert_eq!(prices[0].currency.as_ref(), Some(currency));
    assert!(erp.prices(&[], &PriceQuery::default()).await.unwrap().is_empty());
}

async fn the_catalogue_is_listed_piece_by_piece(erp: &dyn Erp, shelf: &Shelf) {
    let all = erp.skus(None, 10_000).await;
    if !erp.capabilities().catalogue {
        assert!(matches!(all, Err(Error::Unsupported { .. })), "{all:?}");
        return;
    }
    let all = all.unwrap();
    for sku in shelf.odd.iter().chain([&shelf.stocked.0, &shelf.sold_out]) {
        assert!(all.contains(sku), "{sku:?} is not in {all:?}");
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "each once");
    let mut listed: Vec<String> = Vec::new();
    loop {
        let piece = erp.skus(listed.last().map(String::as_str), 3).await.unwrap();
        assert!(piece.len() <= 3);
        if piece.is_empty() {
            break;
        }
        listed.extend(piece);
        assert!(listed.len() <= all.len(), "it does not end: {listed:?}");
    }
    assert_eq!(listed, all);
    let told = erp.stock(&all).await.unwrap();
    assert!(
        all.iter().all(|sku| told.iter().any(|stock| stock.asked == *sku)),
        "what is listed is found"
    );
}

/// What a CRM can be given.
pub(crate) struct Desk {
    /// Contacts or leads.
    pub(crate) entity: Entity,
    /// A key of nothing yet.
    pub(crate) key: Key,
    /// A text field, as it is to be set besides what must be set.
    pub(crate) text: String,
    /// What else a record needs.
    pub(crate) needed: Fields,
    /// A key that several records share, if the system allows it.
    pub(crate) shared: Option<Key>,
}

impl Desk {
    fn fields(&self, text: &str) -> Fields {
        let mut fields = self.needed.clone();
        fields.insert(self.text.clone(), Value::from(text));
        fields
    }
}

/// Everything that any CRM must do.
pub(crate) async fn crm(crm: &dyn Crm, desk: &Desk) {
    a_repeated_upsert_changes_nothing(crm, desk).await;
    what_is_found_is_described(crm, desk).await;
    hostile_texts_are_kept_or_refused(crm, desk).await;
    hostile_keys_find_nothing(crm, desk).await;
    what_is_ambiguous_is_not_changed(crm, desk).await;
    changes_come_and_cursors_go_on(crm, desk).await;
}

async fn only(crm: &dyn Crm, desk: &Desk) -> allai_connectors::Record {
    let mut found = crm.find(desk.entity, &desk.key).await.unwrap();
    assert_eq!(found.len(), 1, "one and no duplicate: {found:?}");
    found.remove(0)
}

async fn a_repeated_upsert_changes_nothing(crm: &dyn Crm, desk: &Desk) {
    assert!(crm.find(desk.entity, &desk.key).await.unwrap().is_empty());
    let first = crm.upsert(desk.entity, &desk.key, &desk.fields("one")).await.unwrap();
    assert!(first.created);
    let created = only(crm, desk).await;
    assert_eq!(created.id, first.id);
    assert_eq!(created.fields[&desk.text], "one");
    let again = crm.upsert(desk.entity, &desk.key, &desk.fields("one")).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.id, first.id);
    assert_eq!(
        only(crm, desk).await,
        created,
        "nothing changed, not even when it was changed"
    );
    crm.upsert(desk.entity, &desk.key, &desk.fields("two")).await.unwrap();
    assert_eq!(only(crm, desk).await.fields[&desk.text], "two");
    let by_id = crm.find(desk.entity, &Key::Id(first.id.clone())).await.unwrap();
    assert_eq!(by_id.len(), 1);
    assert_eq!(by_id[0].id, first.id);
}

async fn what_is_found_is_described(crm: &dyn Crm, desk: &Desk) {
    let described = crm.describe(desk.entity).await.unwrap();
    let names: BTreeSet<&String> = described.iter().map(|field| &field.name).collect();
    assert_eq!(names.len(), described.len(), "each once");
    let found = only(crm, desk).await;
    assert_eq!(found.fields.keys().collect::<BTreeSet<_>>(), names);
    let text = described.iter().find(|field| field.name == desk.text).unwrap();
    assert!(!text.read_only && !text.label.is_empty());
    let unknown = Fields::from([("surely_no_field".to_owned(), Value::from(1))]);
    let error = crm.upsert(desk.entity, &desk.key, &unknown).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "surely_no_field"),
        "{error:?}"
    );
    for field in described.iter().filter(|field| field.read_only) {
        let fields = Fields::from([(field.name.clone(), Value::from("x"))]);
        let error = crm.upsert(desk.entity, &desk.key, &fields).await.unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{}: {error:?}", field.name);
    }
}

async fn hostile_texts_are_kept_or_refused(crm: &dyn Crm, desk: &Desk) {
    for text in hostile().iter().filter(|text| text.len() < 256) {
        match crm.upsert(desk.entity, &desk.key, &desk.fields(text)).await {
            Ok(_) => {
                let found = only(crm, desk).await;
                let kept = found.fields[&desk.text].as_str().unwrap_or_default();
                assert_eq!(kept.trim(), text.trim_matches(|c: char| c.is_whitespace()), "{text:?}");
            }
            Err(error) => assert!(matches!(error, Error::Rejected { .. }), "{text:?}: {error:?}"),
        }
    }
    // What is no text is not made one.
    for value in [
        serde_json::json!({"__class__": "Decimal", "decimal": "1"}),
        serde_json::json!([["delete", [1]]]),
        serde_json::json!(5),
    ] {
        let fields = Fields::from([(desk.text.clone(), value)]);
        let error = crm.upsert(desk.entity, &desk.key, &fields).await.unwrap_err();
        assert!(matches!(error, Error::Rejected { field: Some(_), .. }), "{error:?}");
    }
}

async fn hostile_keys_find_nothing(crm: &dyn Crm, desk: &Desk) {
    for text in hostile() {
        for key in [
            Key::Id(text.clone()),
            Key::Email(text.clone()),
            Key::Email(format!("{text}@example.ro")),
            Key::Phone(text.clone()),
        ] {
            let found = crm.find(desk.entity, &key).await;
            match found {
                // "0" and the like may be ids somewhere.
                Ok(found) => assert!(found.is_empty(), "{key:?} finds {found:?}"),
                Err(error) => assert!(
                    matches!(error, Error::Unsupported { .. } | Error::Rejected { .. }),
                    "{key:?}: {error:?}"
                ),
            }
        }
    }
    let missing = Key::Id("2000000000".to_owned());
    let error = crm.upsert(desk.entity, &missing, &desk.fields("x")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

async fn what_is_ambiguous_is_not_changed(crm: &dyn Crm, desk: &Desk) {
    let Some(key) = &desk.shared else { return };
    let before = crm.find(desk.entity, key).await.unwrap();
    assert!(before.len() > 1);
    let error = crm.upsert(desk.entity, key, &desk.fields("x")).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(crm.find(desk.entity, key).await.unwrap(), before);
}

/// Reads all changes behind a cursor; returns the ids, and the last cursor.
pub(crate) async fn drained(crm: &dyn Crm, entity: Entity, cursor: Option<&str>) -> (Vec<String>, String) {
    let mut cursor = cursor.map(str::to_owned);
    let mut ids = Vec::new();
    for _ in 0..1_000 {
        let changes = crm.changes_since(entity, cursor.as_deref()).await.unwrap();
        let times: Vec<_> = changes.records.iter().map(|record| record.changed_at).collect();
        assert!(times.is_sorted(), "oldest first");
        ids.extend(changes.records.into_iter().map(|record| record.id));
        if !changes.more {
            return (ids, changes.cursor);
        }
        assert_ne!(cursor.as_ref(), Some(&changes.cursor), "a cursor goes on");
        cursor = Some(changes.cursor);
    }
    panic!("the changes do not end");
}

async fn changes_come_and_cursors_go_on(crm: &dyn Crm, desk: &Desk) {
    let (all, cursor) = drained(crm, desk.entity, None).await;
    let id = only(crm, desk).await.id;
    assert!(all.contains(&id), "what was created has changed");
    let (after, cursor) = drained(crm, desk.entity, Some(&cursor)).await;
    assert!(after.len() <= all.len());
    crm.upsert(desk.entity, &desk.key, &desk.fields("changed"))
        .await
        .unwrap();
    let (after, _) = drained(crm, desk.entity, Some(&cursor)).await;
    assert!(after.contains(&id), "what was changed comes");
    for wrong in ["", "nonsense", "{}", "\0"] {
        let error = crm.changes_since(desk.entity, Some(wrong)).await.unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{wrong:?}: {error:?}");
    }
}
