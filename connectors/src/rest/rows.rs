//! From items to stock and prices.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use jmespath::{Rcvar, Variable};
use rust_decimal::Decimal;

use super::operation::Operation;
use super::query;
use crate::error::Error;
use crate::records::{Figures, Item, Price, Stock, Warehouse};

/// Items, by the SKUs and barcodes they have.
#[derive(Debug, Default)]
pub(super) struct Rows {
    items: Vec<Rcvar>,
    /// The SKU of each, as it is written.
    codes: Vec<Option<String>>,
    by_code: HashMap<String, Vec<usize>>,
    by_barcode: HashMap<String, Vec<usize>>,
    asked_at: DateTime<Utc>,
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

fn text(operation: &Operation, name: &str, item: &Rcvar) -> Result<Option<String>, Error> {
    Ok(operation.column(name, item)?.and_then(|found| query::text(&found)))
}

fn decimal(operation: &Operation, name: &str, item: &Rcvar) -> Result<Option<Decimal>, Error> {
    Ok(operation.column(name, item)?.and_then(|found| query::decimal(&found)))
}

/// The item that a row is of; `None` if it does not say.
pub(super) fn item(operation: &Operation, row: &Rcvar) -> Result<Option<Item>, Error> {
    let Some(sku) = text(operation, "sku", row)? else {
        return Ok(None);
    };
    Ok(Some(Item {
        sku,
        name: text(operation, "name", row)?,
        barcode: text(operation, "barcode", row)?,
    }))
}

impl Rows {
    pub(super) fn new(operation: &Operation, rows: Vec<Rcvar>, asked_at: DateTime<Utc>) -> Result<Self, Error> {
        let mut read = Self {
            asked_at,
            ..Self::default()
        };
        for (at, row) in rows.iter().enumerate() {
            let code = text(operation, "sku", row)?;
            if let Some(code) = &code {
                read.by_code.entry(folded(code)).or_default().push(at);
            }
            if let Some(barcode) = text(operation, "barcode", row)? {
                read.by_barcode.entry(folded(&barcode)).or_default().push(at);
            }
            read.codes.push(code);
        }
        read.items = rows;
        Ok(read)
    }

    /// The rows of a SKU: written so, or else the same but for the case of letters, or else with it for a barcode. Rows that do
    /// not say their SKU are those that were asked for.
    fn of(&self, operation: &Operation, sku: &str) -> Vec<&Rcvar> {
        if !operation.has("sku") {
            return self.items.iter().collect();
        }
        let folded = folded(sku);
        let coded = self.by_code.get(&folded).map_or(&[][..], Vec::as_slice);
        let is_exact = |at: &&usize| self.codes[**at].as_deref() == Some(sku.trim());
        let exact: Vec<&usize> = coded.iter().filter(is_exact).collect();
        let chosen = match (exact.is_empty(), coded.is_empty()) {
            (false, _) => exact,
            (true, false) => coded.iter().collect(),
            (true, true) => self
                .by_barcode
                .get(&folded)
                .map_or(&[][..], Vec::as_slice)
                .iter()
                .collect(),
        };
        chosen.into_iter().map(|at| &self.items[*at]).collect()
    }

    /// The SKUs behind this one, in their order.
    pub(super) fn codes(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        let codes: BTreeSet<&String> = self.codes.iter().flatten().collect();
        let behind = codes
            .into_iter()
            .filter(|code| after.is_none_or(|after| code.as_str() > after));
        behind.take(limit).cloned().collect()
    }

    /// The stock of a SKU: several if its rows are of several products.
    pub(super) fn stock(&self, operation: &Operation, sku: &str) -> Result<Vec<Stock>, Error> {
        let mut products: Vec<Product> = Vec::new();
        for row in self.of(operation, sku) {
            let item = match item(operation, row)? {
                Some(item) => item,
                None => Item {
                    sku: sku.to_owned(),
                    name: text(operation, "name", row)?,
                    barcode: text(operation, "barcode", row)?,
                },
            };
            let uom = text(operation, "uom", row)?;
            let known = products.iter().position(|one| one.item == item && one.uom == uom);
            let at = known.unwrap_or_else(|| {
                products.push(Product {
                    item,
                    uom,
                    ..Product::default()
                });
                products.len() - 1
            });
            let product = &mut products[at];
            // The oldest: all of it was true by then at the latest.
            let as_of = operation.column("as_of", row)?.and_then(|found| query::time(&found));
            product.as_of = [product.as_of, as_of].into_iter().flatten().min();
            match &operation.places {
                None => product.add(operation, row)?,
                Some(places) => {
                    let found = places.find(row)?;
                    // No list of warehouses is no stock that is known.
                    if !matches!(*found, Variable::Null) {
                        for place in query::items(&found, places.key())? {
                            product.add(operation, &place)?;
                        }
                    }
                }
            }
        }
        let told = products.into_iter().map(|product| product.told(sku, self.asked_at));
        Ok(told.collect())
    }

    /// The prices of a SKU; several if it has several.
    pub(super) fn prices(&self, operation: &Operation, sku: &str) -> Result<Vec<Price>, Error> {
        let mut prices: Vec<Price> = Vec::new();
        for row in self.of(operation, sku) {
            let amount = |name: &str| {
                let amount = decimal(operation, name, row)?;
                Ok::<_, Error>(amount.filter(|amount| !(operation.zero_is_unknown && amount.is_zero())))
            };
            let price = Price {
                asked: sku.to_owned(),
                net: amount("net")?,
                gross: amount("gross")?,
                currency: text(operation, "currency", row)?.map(|currency| currency.to_uppercase()),
            };
            if (price.net.is_some() || price.gross.is_some()) && !prices.contains(&price) {
                prices.push(price);
            }
        }
        Ok(prices)
    }
}

#[derive(Debug, Default)]
struct Product {
    item: Item,
    uom: Option<String>,
    /// Of what is in no warehouse that is named.
    total: Option<Figures>,
    warehouses: Vec<Warehouse>,
    as_of: Option<DateTime<Utc>>,
}

impl Product {
    fn add(&mut self, operation: &Operation, place: &Rcvar) -> Result<(), Error> {
        let on_hand = decimal(operation, "on_hand", place)?;
        let available = if operation.has("available") {
            decimal(operation, "available", place)?
        } else if operation.has("reserved") {
            let reserved = decimal(operation, "reserved", place)?;
            on_hand
                .zip(reserved)
                .and_then(|(on_hand, reserved)| on_hand.checked_sub(reserved))
        } else {
            None
        };
        let figures = Figures {
            on_hand: on_hand.map(|figure| figure.normalize()),
            available: available.map(|figure| figure.normalize()),
        };
        match text(operation, "warehouse", place)? {
            None => self.total = Some(self.total.map_or(figures, |total| sum(total, figures))),
            Some(code) => match self.warehouses.iter_mut().find(|one| one.code == code) {
                Some(known) => known.figures = sum(known.figures, figures),
                None => self.warehouses.push(Warehouse {
                    code,
                    name: text(operation, "warehouse_name", place)?,
                    figures,
                }),
            },
        }
        Ok(())
    }

    fn told(self, asked: &str, asked_at: DateTime<Utc>) -> Stock {
        // What is in no place is not known: of services, nothing is kept.
        let summed = self.warehouses.iter().map(|one| one.figures).reduce(sum);
        Stock {
            asked: asked.to_owned(),
            item: self.item,
            uom: self.uom,
            total: self.total.or(summed).unwrap_or_default(),
            warehouses: self.warehouses,
            as_of: Some(self.as_of.unwrap_or(asked_at)),
        }
    }
}

/// Not known if one of them is not.
fn sum(one: Figures, other: Figures) -> Figures {
    let sum =
        |one: Option<Decimal>, other: Option<Decimal>| one.zip(other).and_then(|(one, other)| one.checked_add(other));
    Figures {
        on_hand: sum(one.on_hand, other.on_hand),
        available: sum(one.available, other.available),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::config::OperationConfig;
    use super::super::operation::{Common, Kind};
    use super::*;

    fn operation(kind: Kind, config: serde_json::Value) -> Operation {
        let config: OperationConfig = serde_json::from_value(config).unwrap();
        let common = Common {
            known: &[],
            content_type: None,
        };
        Operation::compile("op", kind, &config, &common).unwrap()
    }

    fn rows(operation: &Operation, json: &serde_json::Value) -> Rows {
        let document = Rcvar::new(Variable::from_json(&json.to_string()).unwrap());
        Rows::new(
            operation,
            query::items(&document, "items").unwrap(),
            DateTime::UNIX_EPOCH,
        )
        .unwrap()
    }

    fn number(text: &str) -> Option<Decimal> {
        text.parse().ok()
    }

    #[test]
    fn lots_are_added_up_and_what_is_not_known_stays_so() {
        let flat = operation(
            Kind::Stock,
            json!({"path": "s", "columns": {"sku": "s", "warehouse": "w", "on_hand": "q", "reserved": "r"}}),
        );
        let rows = rows(
            &flat,
            &json!([
                {"s": "A", "w": 1, "q": 0.1, "r": 0},
                {"s": "A", "w": 1, "q": "0.2", "r": 0.05},
                {"s": "a", "w": 1, "q": 9, "r": 0},
                {"s": "A", "w": 2, "q": 5},
                {"s": "B", "q": 7},
                {"s": null, "q": 8},
            ]),
        );
        let stock = rows.stock(&flat, "A").unwrap();
        assert_eq!(stock.len(), 1, "of two that differ in case, the exact one");
        assert_eq!(stock[0].total.on_hand, number("5.3"));
        assert_eq!(
            stock[0].total.available, None,
            "of one warehouse, what is reserved is not known"
        );
        assert_eq!(stock[0].warehouses[0].figures.available, number("0.25"));
        assert_eq!(rows.stock(&flat, "b").unwrap()[0].total.on_hand, number("7"));
        assert!(rows.stock(&flat, "C").unwrap().is_empty());
    }

    #[test]
    fn warehouses_may_be_within_an_item() {
        let nested = operation(
            Kind::Stock,
            json!({"path": "s", "places": "stocks", "columns":
                {"sku": "code", "name": "name", "barcode": "ean", "warehouse": "wh", "on_hand": "q", "as_of": "at"}}),
        );
        let rows = rows(
            &nested,
            &json!([
                {"code": "A", "name": "Pump", "ean": "594", "at": "2026-01-19", "stocks": [{"wh": "B", "q": 1}, {"wh": "C", "q": 2}]},
                {"code": "S", "name": "Service", "stocks": null},
            ]),
        );
        let stock = rows.stock(&nested, "594").unwrap();
        assert_eq!((stock[0].item.sku.as_str(), stock[0].total.on_hand), ("A", number("3")));
        assert_eq!(stock[0].as_of.unwrap().to_rfc3339(), "2026-01-19T00:00:00+00:00");
        assert_eq!(rows.stock(&nested, "S").unwrap()[0].total, Figures::default());
    }

    #[test]
    fn a_price_without_an_amount_is_none() {
        let config = json!({"path": "p", "zero_is_unknown": true,
            "columns": {"sku": "s", "net": "n", "gross": "g", "currency": "c"}});
        let prices = operation(Kind::Prices, config);
        let rows = rows(
            &prices,
            &json!([{"s": "A", "n": 8999.10, "g": 0, "c": "ron"}, {"s": "A", "n": "8999.1", "g": 0.0, "c": "RON"}, {"s": "B", "n": 0},
                {"s": "C", "n": "?"}]),
        );
        let told = rows.prices(&prices, "A").unwrap();
        assert_eq!(told.len(), 1, "the same price once: {told:?}");
        assert_eq!((told[0].net, told[0].gross), (number("8999.10"), None));
        assert!(rows.prices(&prices, "B").unwrap().is_empty() && rows.prices(&prices, "C").unwrap().is_empty());
    }
}
