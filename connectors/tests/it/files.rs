//! The file connector, on a folder into which exports are dropped.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use allai_connectors::files::{Files, FilesConfig};
use allai_connectors::{Connector, Erp, Error, PriceQuery};
use dbase::{FieldName, FieldValue, Record, TableWriterBuilder};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::{self, Shelf};
use crate::support::words::{ODD, are_good, bad, number, on_hand, strings, told};

/// SKU, name, warehouse, quantity and net price, as they are to stand in a file.
type Line = (&'static str, &'static str, &'static str, &'static str, &'static str);

fn lines() -> Vec<Line> {
    let mut lines = vec![
        ("PH-1000", "Pompă de căldură 10 kW", "B", "0,1", "8999,00"),
        ("PH-1000", "Pompă de căldură 10 kW", "C", "0,2", "8999,00"),
        ("CZ-24", "Centrală 24 kW", "B", "0", "0"),
        ("PH_2000", "Heat pump of 20 kW", "B", "3", "12000"),
        ("SV-1", "Montaj", "", "", "121"),
    ];
    lines.extend(ODD.map(|code| (code, "Odd", "B", "1", "1")));
    lines
}

fn csv(lines: &[Line]) -> String {
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let mut text = "Cod;Denumire;Gestiune;Stoc;Pret\r\n".to_owned();
    for (sku, name, place, quantity, price) in lines {
        let cells = [*sku, *name, *place, *quantity, *price].map(quoted);
        text.push_str(&cells.join(";"));
        text.push_str("\r\n");
    }
    text
}

/// A table that another program's library writes.
fn dbf(path: &Path, lines: &[Line]) {
    let name = |name: &str| FieldName::try_from(name).unwrap();
    let mut writer = TableWriterBuilder::new()
        .add_character_field(name("COD"), 60)
        .add_character_field(name("DENUMIRE"), 60)
        .add_character_field(name("GESTIUNE"), 10)
        .add_numeric_field(name("STOC"), 18, 3)
        .add_numeric_field(name("PRET"), 18, 4)
        .build_with_file_dest(path)
        .unwrap();
    for (sku, of, place, quantity, price) in lines {
        let text = |text: &str| FieldValue::Character(Some(text.to_owned()));
        let figure = |text: &str| FieldValue::Numeric(text.replace(',', ".").parse().ok());
        let mut record = Record::default();
        record.insert("COD".to_owned(), text(sku));
        record.insert("DENUMIRE".to_owned(), text(of));
        record.insert("GESTIUNE".to_owned(), text(place));
        record.insert("STOC".to_owned(), figure(quantity));
        record.insert("PRET".to_owned(), figure(price));
        writer.write_record(&record).unwrap();
    }
}

/// Makes a file as old as that.
fn age(path: &Path, seconds: u64) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "files are stamped by the machine's clock")]
    let written = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(written)
        .unwrap();
    written
}

fn drop_in(folder: &TempDir, name: &str, text: &str, seconds: u64) -> SystemTime {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    age(&path, seconds)
}

fn config(folder: &TempDir, change: &Value) -> FilesConfig {
    let mut keys = json!({"folder": folder.path(), "stock": {"files": "stoc*.csv", "delimiter": ";", "decimal_comma": true,
        "currency": "RON", "columns":
            {"sku": "COD", "name": "DENUMIRE", "warehouse": "GESTIUNE", "on_hand": "STOC", "net": "PRET"}}});
    for (key, value) in change.as_object().unwrap() {
        keys["stock"][key] = value.clone();
    }
    serde_json::from_value(keys).unwrap()
}

fn connector(folder: &TempDir) -> Files {
    Files::new(&config(folder, &json!({}))).unwrap()
}

async fn quantity(files: &Files) -> Option<Decimal> {
    files.stock(&strings(&["PH-1000"])).await.unwrap()[0].total.on_hand
}

fn line(quantity: &'static str) -> String {
    csv(&[("PH-1000", "Pompă", "B", quantity, "1")])
}

#[tokio::test]
async fn it_is_an_erp_like_any_other_whatever_the_format() {
    let folder = TempDir::new().unwrap();
    drop_in(&folder, "STOC.CSV", &csv(&lines()), 60);
    dbf(&folder.path().join("stoc.dbf"), &lines());
    age(&folder.path().join("stoc.dbf"), 60);
    let shelf = || Shelf {
        stocked: (
            "PH-1000".to_owned(),
            on_hand("0.3"),
            vec![("B".to_owned(), on_hand("0.1")), ("C".to_owned(), on_hand("0.2"))],
        ),
        sold_out: "CZ-24".to_owned(),
        unknown: Some("SV-1".to_owned()),
        odd: strings(&ODD),
        word: ("pump of".to_owned(), strings(&["PH_2000"])),
        priced: ("PH-1000".to_owned(), Decimal::new(8999, 0), "RON".to_owned()),
        priceless: "CZ-24".to_owned(),
    };
    conformance::erp(&connector(&folder), &shelf()).await;
    let dbf = config(
        &folder,
        &json!({"files": "stoc*.dbf", "encoding": "utf-8", "decimal_comma": false}),
    );
    conformance::erp(&Files::new(&dbf).unwrap(), &shelf()).await;
}

#[tokio::test]
async fn the_newest_complete_file_counts_and_says_of_when_it_is() {
    let folder = TempDir::new().unwrap();
    let files = connector(&folder);
    let error = files.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(
        error.is_outage() && error.to_string().contains("no complete file stoc*.csv"),
        "{error}"
    );
    drop_in(&folder, "stoc_2.csv", &line("2"), 300);
    drop_in(&folder, "stoc_9.csv", &line("9"), 600);
    drop_in(&folder, "other.csv", &line("7"), 60);
    assert_eq!(quantity(&files).await, number("2"));
    // It is being written, until it was left alone for long enough.
    drop_in(&folder, "stoc_3.csv", &line("3"), 0);
    assert_eq!(quantity(&files).await, number("2"));
    let written = age(&folder.path().join("stoc_3.csv"), 20);
    assert_eq!(quantity(&files).await, number("3"));
    let stock = files.stock(&strings(&["PH-1000"])).await.unwrap();
    assert_eq!(stock[0].as_of, Some(written.into()));
    // The same name again, as most programs write it.
    drop_in(&folder, "stoc_3.csv", &line("4"), 15);
    assert_eq!(quantity(&files).await, number("4"));
    // What is known stays, though the file is taken away.
    fs::remove_file(folder.path().join("stoc_3.csv")).unwrap();
    assert_eq!(quantity(&files).await, number("4"));
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_one_in_use_and_a_check_says_so() {
    let folder = TempDir::new().unwrap();
    drop_in(&folder, "stoc_1.csv", &line("1"), 300);
    let files = connector(&folder);
    assert!(are_good(&files.check().await));
    let broken = line("5,x");
    for (at, text) in [broken.as_str(), &line("5")[..40], "", "\u{0}\u{1}"]
        .into_iter()
        .enumerate()
    {
        drop_in(&folder, "stoc_2.csv", text, 100 - at as u64);
        assert_eq!(quantity(&files).await, number("1"), "{text:?}");
        let checks = files.check().await;
        let (problem, _) = bad(&checks, "stock");
        assert!(
            problem.starts_with("stoc_2.csv cannot be used") && problem.contains("those of stoc_1.csv"),
            "{problem}"
        );
        // Nor does one that begins now take it for good.
        assert_eq!(quantity(&connector(&folder)).await, number("1"));
    }
    drop_in(&folder, "stoc_2.csv", &line("6"), 50);
    assert_eq!(quantity(&files).await, number("6"));
    assert!(are_good(&files.check().await));
    // Where there never was a good one, it is said what is wrong.
    let folder = TempDir::new().unwrap();
    drop_in(&folder, "stoc.csv", &broken, 50);
    let error = connector(&folder).stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreadable { .. }) && error.to_string().contains("line 2: STOC is no number"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_that_goes_away_is_told_and_what_is_known_stays() {
    let folder = TempDir::new().unwrap();
    drop_in(&folder, "stoc_1.csv", &line("1"), 300);
    let files = connector(&folder);
    assert_eq!(quantity(&files).await, number("1"));
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(quantity(&files).await, number("1"));
    assert!(bad(&files.check().await, "stock").0.contains("has no folder"));
    let checks = connector(&folder).check().await;
    assert!(bad(&checks, "stock").1.contains("correct folder"), "{checks:?}");
}

#[tokio::test]
async fn prices_may_have_files_of_their_own() {
    let folder = TempDir::new().unwrap();
    drop_in(&folder, "stoc.csv", &line("1"), 300);
    drop_in(
        &folder,
        "preturi.csv",
        "cod,pret,moneda\nPH-1000,10888.79,eur\nCZ-24,,\n",
        300,
    );
    let mut keys = config(&folder, &json!({}));
    keys.prices = Some(
        serde_json::from_value(json!({"files": "pret*.csv",
            "columns": {"sku": "cod", "gross": "pret", "currency": "moneda"}}))
        .unwrap(),
    );
    let files = Files::new(&keys).unwrap();
    let skus = strings(&["PH-1000", "CZ-24"]);
    let prices = files.prices(&skus, &PriceQuery::default()).await.unwrap();
    assert_eq!(prices.len(), 1);
    assert_eq!((prices[0].net, prices[0].gross), (None, number("10888.79")));
    assert_eq!(prices[0].currency.as_deref(), Some("EUR"));
    assert_eq!(told(&files.stock(&skus).await.unwrap()), [("PH-1000", number("1"))]);
    assert_eq!(files.check().await.len(), 2);
    let listed = PriceQuery {
        price_list: Some("angro".to_owned()),
        ..PriceQuery::default()
    };
    let error = files.prices(&skus, &listed).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}
