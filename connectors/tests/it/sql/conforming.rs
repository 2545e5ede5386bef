//! It is an ERP like any other, on every database.

use std::str::FromStr as _;

use allai_connectors::Figures;
use rust_decimal::Decimal;

use super::site::{On, Site};
use crate::conformance::{self, Shelf};

const ODD: [&str; 3] = ["100%_\\", "[\"code\",\"ilike\",\"%\"]", "x'; DROP TABLE products; --"];

const MORE: &str = "
INSERT INTO products VALUES ('CZ-24', 'Centrală 24 kW', NULL, 'buc'), ('SV-1', 'Montaj', NULL, NULL);
INSERT INTO stock VALUES ('CZ-24', 'B', NULL, 0, 0), ('CZ-24', 'C', NULL, 0, 0), ('SV-1', NULL, NULL, NULL, NULL);
";

#[tokio::test]
async fn sqlite() {
    conforms(On::Sqlite).await;
}

#[tokio::test]
async fn postgres() {
    conforms(On::Postgres).await;
}

#[tokio::test]
async fn mariadb() {
    conforms(On::Mariadb).await;
}

async fn conforms(on: On) {
    let site = Site::company(on).await;
    site.admin(MORE).await;
    for (number, sku) in ODD.iter().enumerate() {
        let mut sku = sku.replace('\'', "''");
        if on == On::Mariadb {
            sku = sku.replace('\\', "\\\\");
        }
        site.admin(&format!(
            "INSERT INTO products VALUES ('{sku}', 'Odd {number}', NULL, NULL); \
             INSERT INTO stock VALUES ('{sku}', 'B', NULL, 1, 1)"
        ))
        .await;
    }
    let number = |text: &str| Decimal::from_str(text).unwrap();
    let figures = |on_hand: &str, available: &str| Figures {
        on_hand: Some(number(on_hand)),
        available: Some(number(available)),
    };
    let shelf = Shelf {
        stocked: (
            "PH-1000".to_owned(),
            figures("0.3", "-0.9"),
            vec![
                ("B".to_owned(), figures("0.1", "0.1")),
                ("C".to_owned(), figures("0.2", "-1")),
            ],
        ),
        sold_out: "CZ-24".to_owned(),
        unknown: Some("SV-1".to_owned()),
        odd: ODD.map(str::to_owned).to_vec(),
        word: ("pump of".to_owned(), vec!["PH_2000".to_owned()]),
        priced: ("PH-1000".to_owned(), number("8999"), "RON".to_owned()),
        priceless: "CZ-24".to_owned(),
    };
    conformance::erp(&site.connector(), &shelf).await;
}
