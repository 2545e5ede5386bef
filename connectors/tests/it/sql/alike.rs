//! What holds on every database alike.

use std::time::Duration;

use allai_connectors::{Connector as _, Erp as _, Error, PriceQuery, Stock};
use serde_json::json;

use super::site::{On, Site, skus};

macro_rules! on_each {
    ($($test:ident),* $(,)?) => {
        on_each!(sqlite, On::Sqlite, $($test),*);
        on_each!(postgres, On::Postgres, $($test),*);
        on_each!(mariadb, On::Mariadb, $($test),*);
    };
    ($database:ident, $on:expr, $($test:ident),*) => {
        mod $database {
            use super::On;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($on).await;
                }
            )*
        }
    };
}

on_each!(
    stock_is_told_by_warehouse_and_totals_are_exact,
    skus_are_compared_as_the_database_compares_them,
    several_products_of_one_sku_stay_several,
    a_query_of_one_sku_runs_once_for_each,
    a_query_that_does_not_name_its_skus_is_asked_for_one_after_the_other,
    prices_are_of_the_quantity_and_the_list,
    a_search_takes_wildcards_literally,
    hostile_values_are_compared_and_nothing_else,
    a_write_is_refused_by_the_database,
    more_rows_than_allowed_are_an_error_and_a_search_is_cut,
    twelve_hundred_skus_are_asked_for_in_batches,
    a_slow_query_is_cut_off_and_the_next_lookup_works,
    a_cancelled_lookup_leaves_nothing_behind,
    fifty_lookups_share_two_connections,
    what_is_no_number_names_its_column_only,
    two_rows_of_one_warehouse_are_a_conflict,
    a_table_that_is_missing_is_named,
    a_query_of_ones_own_has_the_parameters_that_it_names,
);

/// The parts of a stock that tests look at: warehouse, on hand, available; first the total.
fn figures(stock: &Stock) -> Vec<String> {
    let text = |number: Option<rust_decimal::Decimal>| {
        number.map_or_else(|| "?".to_owned(), |number| number.normalize().to_string())
    };
    let total = format!("{} {}", text(stock.total.on_hand), text(stock.total.available));
    let warehouses = stock.warehouses.iter().map(|one| {
        let figures = one.figures;
        format!("{} {} {}", one.code, text(figures.on_hand), text(figures.available))
    });
    std::iter::once(total).chain(warehouses).collect()
}

async fn stock_is_told_by_warehouse_and_totals_are_exact(on: On) {
    let site = Site::company(on).await;
    let erp = site.connector();
    let asked = skus(&["10", "PH-1000", "NOTHING", "PH-2000", "PH-1000"]);
    let stock = erp.stock(&asked).await.unwrap();
    let found: Vec<_> = stock.iter().map(|one| one.asked.as_str()).collect();
    assert_eq!(found, ["10", "PH-1000", "PH-2000"]);
    // The row without a warehouse is the total.
    assert_eq!(figures(&stock[0]), ["7 6", "B 3 ?"]);
    assert_eq!(figures(&stock[1]), ["0.3 -0.9", "B 0.1 0.1", "C 0.2 -1"]);
    if on == On::Sqlite {
        // It has no decimals: what it holds is a float.
        assert_eq!(
            figures(&stock[2]),
            ["12345678901234569 ?", "B 12345678901234568 ?", "C 1 1"]
        );
    } else {
        let exact = ["12345678901234568.123456 ?", "B 12345678901234567.123456 ?", "C 1 1"];
        assert_eq!(figures(&stock[2]), exact);
    }
    let pump = &stock[1];
    assert_eq!(pump.item.name.as_deref(), Some("Pompă de căldură 10 kW"));
    assert_eq!(pump.item.barcode.as_deref(), Some("5941234567890"));
    assert_eq!(pump.uom.as_deref(), Some("buc"));
    assert_eq!(pump.warehouses[0].name.as_deref(), Some("București"));
    assert!(pump.as_of.is_some());
    assert_eq!(erp.stock(&[]).await.unwrap(), []);
}

async fn skus_are_compared_as_the_database_compares_them(on: On) {
    let site = Site::company(on).await;
    let erp = site.connector();
    let asked = skus(&["ph-1000", "PH-1000", "NOTHING", "ph-2000"]);
    let stock = erp.stock(&asked).await.unwrap();
    let found: Vec<_> = stock
        .iter()
        .map(|one| (one.asked.as_str(), one.item.sku.as_str()))
        .collect();
    if on == On::Mariadb {
        assert_eq!(
            found,
            [("ph-1000", "PH-1000"), ("PH-1000", "PH-1000"), ("ph-2000", "PH-2000")]
        );
    } else {
        assert_eq!(found, [("PH-1000", "PH-1000")]);
    }
}

async fn several_products_of_one_sku_stay_several(on: On) {
    let site = Site::company(on).await;
    site.admin("INSERT INTO products VALUES ('10', 'Something else', NULL, NULL)")
        .await;
    let stock = site.connector().stock(&skus(&["10", "PH-1000"])).await.unwrap();
    let found: Vec<_> = stock
        .iter()
        .map(|one| (one.asked.as_str(), figures(one).remove(0)))
        .collect();
    assert_eq!(
        found,
        [
            ("10", "7 6".to_owned()),
            ("10", "7 6".to_owned()),
            ("PH-1000", "0.3 -0.9".to_owned())
        ]
    );
}

async fn a_query_of_one_sku_runs_once_for_each(on: On) {
    let site = Site::company(on).await;
    let erp = site.with(
        &json!({"stock_query": "SELECT SUM(on_hand) AS on_hand FROM stock WHERE sku = :sku HAVING COUNT(*) > 0"}),
    );
    let stock = erp.stock(&skus(&["PH-1000", "NOTHING", "10"])).await.unwrap();
    let found: Vec<_> = stock
        .iter()
        .map(|one| (one.item.sku.as_str(), figures(one).remove(0)))
        .collect();
    assert_eq!(found[1], ("10", "10 ?".to_owned()));
    assert_eq!(found[0].0, "PH-1000");
    if on != On::Sqlite {
        assert_eq!(found[0].1, "0.3 ?");
    }
}

async fn a_query_that_does_not_name_its_skus_is_asked_for_one_after_the_other(on: On) {
    let site = Site::company(on).await;
    let erp = site
        .with(&json!({"stock_query": "SELECT warehouse, on_hand FROM stock WHERE sku IN (:skus) ORDER BY warehouse"}));
    let stock = erp.stock(&skus(&["PH-1000", "10", "NOTHING"])).await.unwrap();
    let found: Vec<_> = stock.iter().map(|one| (one.asked.as_str(), figures(one))).collect();
    assert_eq!(found[0], ("PH-1000", skus(&["0.3 ?", "B 0.1 ?", "C 0.2 ?"])));
    assert_eq!(found[1], ("10", skus(&["7 ?", "B 3 ?"])));
    assert_eq!(found.len(), 2);
}

async fn prices_are_of_the_quantity_and_the_list(on: On) {
    let site = Site::company(on).await;
    let erp = site.connector();
    let asked = skus(&["PH-1000", "PH-2000"]);
    for (quantity, list, net, gross) in [
        (None, None, "8999", Some("10888.79")),
        (Some("2.4"), None, "8999", Some("10888.79")),
        (Some("2.5"), None, "8500.1", Some("10285.121")),
        (Some("100"), Some("dealer"), "8000", None),
    ] {
        let query = PriceQuery {
            quantity: quantity.map(|quantity| quantity.parse().unwrap()),
            price_list: list.map(str::to_owned),
        };
        let prices = erp.prices(&asked, &query).await.unwrap();
        assert_eq!(prices.len(), 1);
        assert_eq!(prices[0].asked, "PH-1000");
        assert_eq!(prices[0].net.unwrap().normalize().to_string(), net);
        assert_eq!(
            prices[0].gross.map(|gross| gross.normalize().to_string()).as_deref(),
            gross
        );
        assert_eq!(prices[0].currency.as_deref(), Some("RON"));
    }
    let unknown = PriceQuery {
        quantity: None,
        price_list: Some("' OR 1=1 --".to_owned()),
    };
    assert_eq!(erp.prices(&asked, &unknown).await.unwrap(), []);
}

async fn a_search_takes_wildcards_literally(on: On) {
    let site = Site::company(on).await;
    let erp = site.connector();
    let found = async |words: &str| {
        let items = erp.search(words, 10).await.unwrap();
        items.into_iter().map(|item| item.sku).collect::<Vec<_>>()
    };
    assert_eq!(found("pump").await, ["PH-2000", "PH_2000"]);
    assert_eq!(found("100%").await, ["PH-2000"]);
    assert_eq!(found("%").await, ["PH-2000"]);
    assert_eq!(found("_").await, Vec::<String>::new());
    assert_eq!(found("\\").await, Vec::<String>::new());
    assert_eq!(found("Pump%copper").await, Vec::<String>::new());
    assert_eq!(found("5941234567890").await, ["PH-1000"]);
    assert_eq!(found(" căldură ").await, ["PH-1000"]);
    assert_eq!(found("").await, Vec::<String>::new());
    // The one that is meant comes first, though `10` sorts before it.
    assert_eq!(found("PH-1000").await, ["PH-1000", "10"]);
    assert_eq!(erp.search("pump", 1).await.unwrap().len(), 1);
    assert_eq!(erp.search("pump", 0).await.unwrap(), []);
}

/// What customers might type.
fn hostile() -> Vec<String> {
    let mut values = skus(&[
        "'",
        "''",
        "\"",
        "`",
        "\\",
        "\\'",
        "'; DROP TABLE products; --",
        "' OR '1'='1",
        "x' UNION SELECT sku, name, barcode FROM products --",
        "1; DELETE FROM stock",
        "$1",
        "?",
        ":sku",
        ":skus",
        "@@version",
        "/* */",
        "--",
        "#",
        "%",
        "_",
        "PH%",
        "PH-____",
        "[a-z]",
        "*",
        ".*",
        "{\"sku\":\"PH-1000\"}",
        "[\"PH-1000\"]",
        "{{ sku }}",
        "{% raw %}",
        "${jndi:ldap://x}",
        "<script>alert(1)</script>",
        "\u{202e}0001-HP\u{202c}",
        "\u{200f}PH-1000",
        "😀",
        "NULL",
        "null",
        "0x31",
        "1e1",
        "\t",
        "a\r\nb",
    ]);
    values.push("x".repeat(10_000));
    values.push("'".repeat(10_000));
    values
}

async fn hostile_values_are_compared_and_nothing_else(on: On) {
    let site = Site::company(on).await;
    let erp = site.connector();
    let before = site.content().await;
    let mut all = hostile();
    all.push("PH-1000\0".to_owned());
    all.push("\0".to_owned());
    for value in &all {
        assert_eq!(erp.stock(std::slice::from_ref(value)).await.unwrap(), [], "{value:.40}");
        erp.search(value, 10).await.unwrap();
        assert_eq!(
            erp.prices(std::slice::from_ref(value), &PriceQuery::default())
                .await
                .unwrap(),
            []
        );
    }
    assert_eq!(erp.stock(&all).await.unwrap(), []);
    assert_eq!(site.content().await, before, "looking changed nothing");

    // The same as SKUs that exist: each is found, alone and among all, and no other.
    for value in hostile() {
        let quoted = value.replace('\'', "''");
        let quoted = if on == On::Mariadb {
            quoted.replace('\\', "\\\\")
        } else {
            quoted
        };
        site.admin(&format!(
            "INSERT INTO products VALUES ('{quoted}', 'x', NULL, NULL); INSERT INTO stock VALUES ('{quoted}', 'B', NULL, 1, 1)"
        ))
        .await;
    }
    let known = hostile();
    // MariaDB's collation ignores blanks at the end, and case; its `null` is two rows of one warehouse.
    let known: Vec<_> = known
        .into_iter()
        .filter(|value| on != On::Mariadb || !["NULL", "null", "😀"].contains(&value.as_str()))
        .collect();
    for value in &known {
        let stock = erp.stock(std::slice::from_ref(value)).await.unwrap();
        assert_eq!(stock.len(), 1, "{value:.40}");
        assert_eq!(&stock[0].item.sku, value);
    }
    let stock = erp.stock(&known).await.unwrap();
    let found: Vec<_> = stock.into_iter().map(|one| one.item.sku).collect();
    assert_eq!(found, known);
}

async fn a_write_is_refused_by_the_database(on: On) {
    let site = Site::company(on).await;
    let before = site.content().await;
    let query = match on {
        On::Sqlite => "WITH x AS (SELECT 1) DELETE FROM stock WHERE sku <> :sku RETURNING sku, on_hand",
        On::Postgres => "WITH x AS (DELETE FROM stock WHERE sku <> :sku RETURNING *) SELECT sku, on_hand FROM x",
        On::Mariadb => {
            site.admin("CREATE FUNCTION wipe() RETURNS INT BEGIN DELETE FROM stock; RETURN 1; END")
                .await;
            "SELECT :sku AS sku, wipe() AS on_hand"
        }
    };
    let erp = site.with(&json!({"stock_query": query}));
    let error = erp.stock(&skus(&["10"])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "stock_query"),
        "{error:?}"
    );
    assert!(error.to_string().contains("only reads"), "{error}");
    let checks = erp.check().await;
    let told = checks.iter().any(|check| format!("{check:?}").contains("only reads"));
    assert!(told, "{checks:?}");
    assert_eq!(site.content().await, before);

    // What is no SELECT does not even get there.
    for query in [
        "UPDATE stock SET on_hand = 0 WHERE sku = :sku",
        "SELECT 1 AS on_hand WHERE 'x' = :sku; DROP TABLE stock",
        "SELECT sku, on_hand INTO OUTFILE '/tmp/x' FROM stock WHERE sku = :sku",
        "COMMIT",
    ] {
        let error = site.try_with(&json!({"stock_query": query})).unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    }
    assert_eq!(site.content().await, before);
}

async fn more_rows_than_allowed_are_an_error_and_a_search_is_cut(on: On) {
    let site = Site::company(on).await;
    let search = site.search().replace("LIMIT :limit", "");
    let erp = site.with(&json!({"max_rows": 2, "search_query": search}));
    // Of all together there are more, but not of any one.
    let asked = skus(&["PH-1000", "NOTHING", "10", "PH-2000"]);
    assert_eq!(erp.stock(&asked).await.unwrap().len(), 3);
    assert_eq!(erp.search("p", 1).await.unwrap().len(), 1);
    assert_eq!(erp.search("p", 100).await.unwrap().len(), 2);
    let erp = site.with(&json!({"max_rows": 1}));
    let error = erp.stock(&asked).await.unwrap_err();
    assert!(error.to_string().contains("more than 1 rows"), "{error}");
    assert_eq!(erp.stock(&skus(&["NOTHING"])).await.unwrap(), []);
}

async fn twelve_hundred_skus_are_asked_for_in_batches(on: On) {
    let site = Site::company(on).await;
    let mut asked: Vec<_> = (0..1_200).map(|at| format!("X{at}")).collect();
    for (at, sku) in [(0, "PH-1000"), (700, "PH-2000"), (1_199, "10")] {
        sku.clone_into(&mut asked[at]);
    }
    let stock = site.connector().stock(&asked).await.unwrap();
    let found: Vec<_> = stock.iter().map(|one| one.asked.as_str()).collect();
    assert_eq!(found, ["PH-1000", "PH-2000", "10"]);
}

async fn a_slow_query_is_cut_off_and_the_next_lookup_works(on: On) {
    let site = Site::company(on).await;
    let erp = site.with(&json!({"stock_query": site.slow(), "timeout": "1500ms", "connections": 1}));
    assert_eq!(erp.stock(&skus(&["10"])).await.unwrap().len(), 1);
    for _ in 0..2 {
        let asked = skus(&["SLOW"]);
        let slow = tokio::time::timeout(Duration::from_secs(20), erp.stock(&asked));
        let error = slow.await.expect("it is cut off").unwrap_err();
        assert!(error.is_worth_repeating(), "{error:?}");
        assert_eq!(erp.stock(&skus(&["10"])).await.unwrap().len(), 1);
    }
}

async fn a_cancelled_lookup_leaves_nothing_behind(on: On) {
    let site = Site::company(on).await;
    let erp = site.with(&json!({"stock_query": site.slow(), "connections": 1}));
    for _ in 0..3 {
        let asked = skus(&["SLOW"]);
        let cancelled = tokio::time::timeout(Duration::from_millis(200), erp.stock(&asked)).await;
        assert!(cancelled.is_err());
        let stock = erp.stock(&skus(&["10"])).await.unwrap();
        assert_eq!(stock[0].asked, "10");
        assert_eq!(figures(&stock[0]), ["1 ?"]);
    }
}

async fn fifty_lookups_share_two_connections(on: On) {
    let site = Site::company(on).await;
    let erp = site.connector();
    let lookups = (0..50).map(|at| {
        let erp = &erp;
        async move {
            let sku = if at % 2 == 0 { "PH-1000" } else { "10" };
            let stock = erp.stock(&skus(&[sku])).await.unwrap();
            assert_eq!(stock[0].item.sku, sku);
        }
    });
    futures_util::future::join_all(lookups).await;
    let count = match on {
        On::Sqlite => return,
        On::Postgres => format!(
            "SELECT CAST(COUNT(*) AS TEXT) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'allai-sync'",
            site.name
        ),
        On::Mariadb => format!(
            "SELECT CAST(COUNT(*) - 1 AS CHAR) FROM information_schema.processlist WHERE db = '{}'",
            site.name
        ),
    };
    site.comes_to(&count, "2").await;
}

async fn what_is_no_number_names_its_column_only(on: On) {
    let site = Site::company(on).await;
    let erp = site.with(&json!({"stock_query": "SELECT sku, name AS on_hand FROM products WHERE sku IN (:skus)"}));
    let error = erp.stock(&skus(&["PH-1000"])).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("on_hand") && text.contains("stock_query"), "{text}");
    assert!(!text.contains("Pomp"), "{text}");
}

async fn two_rows_of_one_warehouse_are_a_conflict(on: On) {
    let site = Site::company(on).await;
    site.admin("INSERT INTO stock VALUES ('PH-1000', 'B', 'București', 5, 5)")
        .await;
    let error = site.connector().stock(&skus(&["PH-1000"])).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

async fn a_table_that_is_missing_is_named(on: On) {
    let site = Site::company(on).await;
    let erp = site.with(&json!({"stock_query": "SELECT sku, on_hand FROM stocks WHERE sku = :sku"}));
    let error = erp.stock(&skus(&["10"])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "stock_query"),
        "{error:?}"
    );
    assert!(error.to_string().contains("stocks"), "{error}");
}

async fn a_query_of_ones_own_has_the_parameters_that_it_names(on: On) {
    let site = Site::company(on).await;
    let none = serde_json::Value::Null;
    let (text, missing) = match on {
        On::Postgres => (":code::text", "missing_table"),
        _ => (":code", "missing_table"),
    };
    let sql = site.with(&json!({
        "stock_query": none, "price_query": none, "search_query": none, "catalogue_query": none,
        "queries": {
            "rows": "SELECT warehouse AS Place, on_hand FROM stock WHERE sku = :sku AND :sku <> :other ORDER BY warehouse",
            "null": format!("SELECT {text} AS code, 1.50 AS number"),
            "missing": format!("SELECT 1 AS one FROM {missing} WHERE 'x' = :x"),
        },
    }));
    assert!(!sql.capabilities().stock);
    let parameters: Vec<Vec<String>> = sql.queries().values().map(|names| names.to_vec()).collect();
    assert_eq!(
        parameters,
        [vec!["x".to_owned()], vec!["code".to_owned()], skus(&["sku", "other"])]
    );
    let given = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let rows = sql
        .query("rows", &given(&[("sku", "PH-1000"), ("other", "x")]))
        .await
        .unwrap();
    assert!(rows.len() > 1 && rows[0]["place"].is_some(), "{rows:?}");
    for hostile in ["' OR '1'='1", "PH-1000\0", "PH-1000'; DROP TABLE stock; --"] {
        let rows = sql
            .query("rows", &given(&[("sku", hostile), ("other", "x")]))
            .await
            .unwrap();
        assert!(rows.is_empty(), "{hostile}: {rows:?}");
    }
    let rows = sql.query("null", &given(&[])).await.unwrap();
    assert_eq!(rows[0]["code"], None);
    assert_eq!(
        rows[0]["number"].as_deref().map(|number| number.trim_end_matches('0')),
        Some("1.5")
    );
    let error = sql.query("missing", &given(&[("x", "x")])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "queries.missing"),
        "{error:?}"
    );
    let checks = format!("{:?}", sql.check().await);
    assert!(checks.contains("it can be asked, with sku, other"), "{checks}");
    for (queries, what) in [
        (json!({"write": "DELETE FROM stock"}), "queries.write"),
        (json!({}), "it has no query"),
    ] {
        let bare = json!({
            "stock_query": none, "price_query": none, "search_query": none, "catalogue_query": none, "queries": queries,
        });
        let error = site.try_with(&bare).unwrap_err();
        assert!(format!("{error:?}").contains(what), "{error:?}");
    }
}
