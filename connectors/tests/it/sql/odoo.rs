//! The query for Odoo's own database, on the tables it reads.

use allai_connectors::sql::ODOO_STOCK_QUERY;
use allai_connectors::{Connector as _, Erp as _, Found};
use serde_json::json;

use super::site::{On, Site, skus};

/// As Odoo 17 has them, less the columns that are of no use here.
const ODOO: &str = r#"
CREATE TABLE product_template (id SERIAL PRIMARY KEY, name JSONB NOT NULL, company_id INTEGER, active BOOLEAN);
CREATE TABLE product_product (id SERIAL PRIMARY KEY, product_tmpl_id INTEGER NOT NULL, default_code VARCHAR, barcode VARCHAR,
  active BOOLEAN);
CREATE TABLE stock_location (id SERIAL PRIMARY KEY, name VARCHAR, usage VARCHAR NOT NULL, parent_path VARCHAR);
CREATE TABLE stock_warehouse (id SERIAL PRIMARY KEY, name VARCHAR NOT NULL, code VARCHAR(5) NOT NULL, active BOOLEAN,
  company_id INTEGER NOT NULL, view_location_id INTEGER NOT NULL, lot_stock_id INTEGER NOT NULL);
CREATE TABLE stock_quant (id SERIAL PRIMARY KEY, product_id INTEGER NOT NULL, location_id INTEGER NOT NULL,
  quantity NUMERIC, reserved_quantity NUMERIC NOT NULL);
INSERT INTO product_template (id, name, company_id, active) VALUES
  (1, '{"en_US": "Heat pump", "ro_RO": "Pompă de căldură"}', NULL, true),
  (2, '{"ro_RO": "Boiler"}', 1, true),
  (3, '{"en_US": "Old pump"}', NULL, true),
  (4, '{"en_US": "Cable, red"}', NULL, true),
  (5, '{"en_US": "Cable, blue"}', NULL, true);
INSERT INTO product_product (id, product_tmpl_id, default_code, barcode, active) VALUES
  (11, 1, 'PH-1000', '5941234567890', true), (12, 2, 'BO-1', NULL, true), (13, 3, 'OLD', NULL, false),
  (14, 4, 'CABLE', NULL, true), (15, 5, 'CABLE', NULL, true);
INSERT INTO stock_location (id, name, usage, parent_path) VALUES
  (1, 'Physical', 'view', '1/'), (7, 'WH', 'view', '1/7/'), (8, 'Stock', 'internal', '1/7/8/'),
  (9, 'Shelf', 'internal', '1/7/8/9/'), (10, 'Output', 'transit', '1/7/10/'), (5, 'Customers', 'customer', '5/'),
  (70, 'CJ', 'view', '1/70/'), (71, 'Stock', 'internal', '1/70/71/'), (80, 'OT', 'view', '1/80/'),
  (81, 'Stock', 'internal', '1/80/81/');
INSERT INTO stock_warehouse (id, name, code, active, company_id, view_location_id, lot_stock_id) VALUES
  (1, 'București', 'WH', true, 1, 7, 8), (2, 'Cluj', 'CJ', true, 1, 70, 71), (3, 'Other', 'OT', true, 2, 80, 81),
  (4, 'Closed', 'XX', false, 1, 80, 81);
INSERT INTO stock_quant (product_id, location_id, quantity, reserved_quantity) VALUES
  (11, 8, 3, 1), (11, 9, 2.5, 0), (11, 10, 100, 0), (11, 5, -8, 0), (11, 71, 4, 4), (12, 8, 1, 0), (14, 8, 6, 0),
  (13, 8, 9, 0);
"#;

#[tokio::test]
async fn the_stock_of_odoo_is_told_by_warehouse() {
    let site = Site::empty(On::Postgres).await;
    site.admin(ODOO).await;
    let none = json!(null);
    let erp = site.with(&json!({
        "stock_query": ODOO_STOCK_QUERY, "price_query": none, "search_query": none, "catalogue_query": none,
    }));
    for check in erp.check().await {
        assert!(matches!(check.found, Found::Good(_)), "{check:?}");
    }
    let stock = erp
        .stock(&skus(&["PH-1000", "BO-1", "OLD", "CABLE", "NOTHING"]))
        .await
        .unwrap();
    let lines: Vec<_> = stock
        .iter()
        .map(|one| {
            let warehouses = one.warehouses.iter().map(|warehouse| {
                let figures = warehouse.figures;
                format!(
                    " {}:{}/{}",
                    warehouse.code,
                    figures.on_hand.unwrap(),
                    figures.available.unwrap()
                )
            });
            format!(
                "{} {} {}/{}{}",
                one.asked,
                one.item.name.as_deref().unwrap_or("?"),
                one.total.on_hand.unwrap(),
                one.total.available.unwrap(),
                warehouses.collect::<String>()
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "PH-1000 Heat pump 9.5/4.5 CJ:4/0 OT:0/0 WH:5.5/4.5",
            // It is the first company's only.
            "BO-1 Boiler 1/1 CJ:0/0 WH:1/1",
            // Two products of one code: both, for somebody to choose.
            "CABLE Cable, red 6/6 CJ:0/0 OT:0/0 WH:6/6",
            "CABLE Cable, blue 0/0 CJ:0/0 OT:0/0 WH:0/0",
        ]
    );
    assert_eq!(stock[0].item.barcode.as_deref(), Some("5941234567890"));
    assert_eq!(stock[0].warehouses[2].name.as_deref(), Some("București"));
}
