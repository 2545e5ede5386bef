//! Products, stock and prices.
//!
//! `qty_available` is what is on hand; `virtual_available` is that, less what planned moves will take and more what they will bring,
//! which is what can still be promised. Both are a warehouse's if the context names one: so many warehouses, so many requests,
//! whatever the number of SKUs.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rpc::Call;
use super::setup::{PRODUCT, Setup, WarehouseRow};
use super::values::{decimal, escaped, is_storable, related_name, stripped, text};
use super::{Odoo, SYSTEM};
use crate::Erp;
use crate::catalogue::{ListPrice, is_searchable, once};
use crate::error::Error;
use crate::records::{Figures, Item, Price, PriceQuery, Stock, Warehouse};
use crate::time::now;

/// How many SKUs are asked for at once.
const SKUS: usize = 200;
/// How many words of a search are looked at; who writes more has said enough.
const WORDS: usize = 12;
/// The longest SKU that is asked for, in bytes.
const LONGEST: usize = 256;

/// A product, with whatever of it was asked for.
#[derive(Debug, Deserialize)]
struct ProductRow {
    id: i64,
    default_code: Value,
    #[serde(default)]
    name: Value,
    #[serde(default)]
    barcode: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    is_storable: Value,
    #[serde(default)]
    uom_id: Value,
    #[serde(default)]
    qty_available: Value,
    #[serde(default)]
    virtual_available: Value,
    #[serde(default)]
    lst_price: Value,
    #[serde(default)]
    price: Value,
    #[serde(default)]
    currency_id: Value,
    #[serde(default)]
    taxes_id: Vec<i64>,
}

/// A tax.
#[derive(Debug, Deserialize)]
struct TaxRow {
    id: i64,
    #[serde(default)]
    amount: Value,
    #[serde(default)]
    amount_type: Value,
    #[serde(default)]
    price_include: Value,
    #[serde(default)]
    include_base_amount: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct PriceListRow {
    id: i64,
    currency_id: Value,
}

impl ProductRow {
    fn item(&self) -> Option<Item> {
        Some(Item {
            sku: text(&self.default_code)?.to_owned(),
            name: text(&self.name).map(str::to_owned),
            barcode: text(&self.barcode).map(str::to_owned),
        })
    }

    /// Of what is not stored, Odoo says zero and means nothing.
    fn is_stocked(&self, setup: &Setup) -> bool {
        // Up to 17 a storable product has a type of its own, from 18 on a mark.
        if setup.has("is_storable") {
            self.is_storable == json!(true)
        } else {
            self.kind == json!("product")
        }
    }

    fn figures(&self) -> Figures {
        Figures {
            on_hand: decimal(&self.qty_available),
            available: decimal(&self.virtual_available),
        }
    }

    /// Without and with taxes, as far as they are simple enough to tell.
    fn list_price(
        &self,
        amount: Option<Decimal>,
        currency: Option<&str>,
        taxes: &BTreeMap<i64, TaxRow>,
    ) -> Option<ListPrice> {
        let own: Vec<&TaxRow> = self.taxes_id.iter().filter_map(|id| taxes.get(id)).collect();
        let is_included = |tax: &&TaxRow| tax.price_include == json!(true);
        let included = own.iter().filter(|tax| is_included(tax)).count();
        // Some in the price and some not: neither the one nor the other figure.
        let included = (included == 0 || included == own.len()).then_some(included > 0)?;
        let rate: Option<Decimal> = own
            .iter()
            .map(|tax| {
                let is_simple = tax.amount_type == json!("percent") && tax.include_base_amount != json!(true);
                decimal(&tax.amount).filter(|_| is_simple)
            })
            .sum();
        // Taxes that nobody entered are not none. Those of other companies do not count.
        let rate = rate.filter(|_| !own.is_empty());
        ListPrice::new(amount, rate, Some(included), currency.map(str::to_owned))
    }
}

fn sum(warehouses: &[Warehouse]) -> Figures {
    let sum_of = |figure: fn(&Figures) -> Option<Decimal>| -> Option<Decimal> {
        let sum: Option<Decimal> = warehouses.iter().map(|warehouse| figure(&warehouse.figures)).sum();
        sum.map(|sum| sum.normalize())
    };
    Figures {
        on_hand: sum_of(|figures| figures.on_hand),
        available: sum_of(|figures| figures.available),
    }
}

/// The SKUs to ask for, each once: those that no database can hold are in none.
fn askable(skus: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    skus.iter()
        .filter(|sku| is_storable(sku) && !stripped(sku).is_empty() && sku.len() <= LONGEST)
        .filter(|sku| seen.insert(sku.as_str()))
        .collect()
}

/// What finds the products with these SKUs.
fn coded(skus: &[&String]) -> Value {
    let codes: BTreeSet<&str> = skus.iter().map(|sku| stripped(sku)).collect();
    json!([["default_code", "in", codes]])
}

/// Each SKU with the products that have it, in the order of the question.
fn matched<'a, 'b>(skus: &[&'a String], rows: &'b [ProductRow]) -> Vec<(&'a String, &'b ProductRow)> {
    let mut by_code: BTreeMap<&str, Vec<&ProductRow>> = BTreeMap::new();
    for row in rows {
        if let Some(code) = text(&row.default_code) {
            by_code.entry(stripped(code)).or_default().push(row);
        }
    }
    let of = |&sku: &&'a String| {
        let rows = by_code.get(stripped(sku)).cloned().unwrap_or_default();
        rows.into_iter().map(move |row| (sku, row))
    };
    skus.iter().flat_map(of).collect()
}

/// A filter for records of which one of the clauses is true.
pub(super) fn any(clauses: Vec<Value>) -> Vec<Value> {
    let operators = clauses.len().saturating_sub(1);
    std::iter::repeat_n(json!("|"), operators).chain(clauses).collect()
}

impl Odoo {
    async fn products(
        &self,
        domain: Value,
        limit: Option<usize>,
        fields: &[&str],
        context: Value,
    ) -> Result<Vec<ProductRow>, Error> {
        let mut call = Call::search_read(PRODUCT, domain, fields).context(context);
        if let Some(limit) = limit {
            call = call.with("limit", json!(limit));
        }
        self.rpc.call(call).await
    }

    fn item_fields(setup: &Setup) -> Vec<&'static str> {
        let optional = ["barcode", "type", "is_storable"];
        let present = optional.into_iter().filter(|field| setup.has(field));
        ["default_code", "name"].into_iter().chain(present).collect()
    }

    async fn stock_of(&self, setup: &Setup, skus: &[&String]) -> Result<Vec<Stock>, Error> {
        let Some((first, others)) = setup.warehouses.split_first() else {
            return Ok(Vec::new());
        };
        let in_warehouse = |warehouse: &WarehouseRow| {
            // The one up to 17, the other from 18 on.
            setup.product_context(&[
                ("warehouse", json!(warehouse.id)),
                ("warehouse_id", json!(warehouse.id)),
            ])
        };
        let quantities = ["qty_available", "virtual_available"];
        let fields = [&Self::item_fields(setup)[..], &quantities, &["uom_id"]].concat();
        let asked_at = now();
        let rows = self.products(coded(skus), None, &fields, in_warehouse(first)).await?;
        let stocked: Vec<i64> = rows
            .iter()
            .filter(|row| row.is_stocked(setup))
            .map(|row| row.id)
            .collect();
        let mut known: BTreeMap<(i64, i64), Figures> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.is_stocked(setup)) {
            known.insert((row.id, first.id), row.figures());
        }
        if !stocked.is_empty() {
            let read = |warehouse: &WarehouseRow| {
                let domain = json!([["id", "in", stocked]]);
                let fields = [&["default_code"][..], &quantities].concat();
                let (id, context) = (warehouse.id, in_warehouse(warehouse));
                async move { Ok::<_, Error>((id, self.products(domain, None, &fields, context).await?)) }
            };
            for (warehouse, rows) in try_join_all(others.iter().map(read).collect::<Vec<_>>()).await? {
                known.extend(rows.iter().map(|row| ((row.id, warehouse), row.figures())));
            }
        }
        let stock = |(sku, row): (&String, &ProductRow)| {
            let in_warehouse = |warehouse: &WarehouseRow| Warehouse {
                code: warehouse.code(),
                name: warehouse.name(),
                figures: known.get(&(row.id, warehouse.id)).copied().unwrap_or_default(),
            };
            let warehouses: Vec<Warehouse> = setup.warehouses.iter().map(in_warehouse).collect();
            Some(Stock {
                asked: sku.clone(),
                item: row.item()?,
                uom: related_name(&row.uom_id).map(str::to_owned),
                total: sum(&warehouses),
                warehouses,
                as_of: Some(asked_at),
            })
        };
        Ok(matched(skus, &rows).into_iter().filter_map(stock).collect())
    }

    pub(super) async fn price_list(&self, setup: &Setup, name: &str) -> Result<PriceListRow, Error> {
        if !setup.has("price") {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "tell prices of a pricelist: from 16 on Odoo computes them for nobody but itself; leave price_list out"
                    .to_owned(),
            });
        }
        let missing = || Error::NotFound {
            system: SYSTEM,
            what: "pricelist of this name".to_owned(),
        };
        if !is_searchable(name) {
            return Err(missing());
        }
        let call = Call::search_read("product.pricelist", json!([["name", "=", name]]), &["currency_id"])
            .with("limit", json!(2))
            .context(setup.product_context(&[]));
        let rows: Vec<PriceListRow> = self.rpc.call(call).await?;
        match <[PriceListRow; 1]>::try_from(rows) {
            Ok([row]) => Ok(row),
            Err(rows) if rows.is_empty() => Err(missing()),
            Err(_) => Err(Error::Conflict {
                system: SYSTEM,
                message: "several pricelists have this name".to_owned(),
            }),
        }
    }

    async fn taxes(&self, setup: &Setup, rows: &[ProductRow]) -> Result<BTreeMap<i64, TaxRow>, Error> {
        let ids: BTreeSet<i64> = rows.iter().flat_map(|row| row.taxes_id.iter().copied()).collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut domain = vec![json!(["id", "in", ids])];
        if let Some((company, _)) = &setup.company {
            domain.push(json!(["company_id", "=", company]));
        }
        let fields = ["amount", "amount_type", "price_include", "include_base_amount"];
        let call = Call::search_read("account.tax", Value::Array(domain), &fields).context(setup.product_context(&[]));
        let rows: Vec<TaxRow> = self.rpc.call(call).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

#[async_trait]
impl Erp for Odoo {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        let whole = stripped(words);
        if limit == 0 || !is_searchable(whole) {
            return Ok(Vec::new());
        }
        let setup = self.setup().await?;
        let code = escaped(whole);
        let has_code = json!(["default_code", "!=", false]);
        let mut fields = vec!["default_code"];
        if setup.has("barcode") {
            fields.push("barcode");
        }
        let clauses = fields.iter().map(|field| json!([field, "=ilike", code])).collect();
        let exact: Vec<Value> = std::iter::once(has_code.clone()).chain(any(clauses)).collect();
        let word = |word: &str| {
            let word = escaped(word);
            any(vec![
                json!(["name", "ilike", word]),
                json!(["default_code", "ilike", word]),
            ])
        };
        let named: Vec<Value> = std::iter::once(has_code)
            .chain(whole.split_whitespace().take(WORDS).flat_map(word))
            .collect();
        let fields = Self::item_fields(&setup);
        let (exact, named) = tokio::try_join!(
            self.products(Value::Array(exact), Some(limit), &fields, setup.product_context(&[])),
            self.products(Value::Array(named), Some(limit), &fields, setup.product_context(&[])),
        )?;
        let mut seen = BTreeSet::new();
        let rows = exact.into_iter().chain(named).filter(|row| seen.insert(row.id));
        Ok(rows.filter_map(|row| row.item()).take(limit).collect())
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let setup = self.setup().await?;
        let unsupported = |why: &str| Error::Unsupported {
            system: SYSTEM,
            doing: format!("tell stock: {why}"),
        };
        if !setup.has_stock() {
            return Err(unsupported(
                "the app Inventory (stock) is not installed, or the user may not read products",
            ));
        }
        if let Some(missing) = setup.missing.first() {
            return Err(Error::NotFound {
                system: SYSTEM,
                what: format!("warehouse \"{missing}\"; correct warehouses"),
            });
        }
        if setup.warehouses.is_empty() {
            return Err(unsupported("the user sees no warehouse"));
        }
        let mut stock = Vec::new();
        for skus in askable(skus).chunks(SKUS) {
            stock.extend(self.stock_of(&setup, skus).await?);
        }
        Ok(stock)
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let setup = self.setup().await?;
        let mut domain = vec![json!(["default_code", "!=", false]), json!(["default_code", "!=", ""])];
        domain.extend(after.map(|after| json!(["default_code", ">", after])));
        let call = Call::search_read(PRODUCT, Value::Array(domain), &["default_code"])
            .context(setup.product_context(&[]))
            .with("order", json!("default_code, id"))
            .with("limit", json!(limit));
        let rows: Vec<ProductRow> = self.rpc.call(call).await?;
        Ok(once(rows.iter().filter_map(|row| row.item().map(|item| item.sku))))
    }

    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error> {
        if query.quantity.is_some_and(|quantity| quantity <= Decimal::ZERO) {
            return Err(Error::Rejected {
                system: SYSTEM,
                field: Some("quantity".to_owned()),
                message: "it is not more than zero".to_owned(),
            });
        }
        let setup = self.setup().await?;
        let list = match query.price_list.as_ref().or(self.config.price_list.as_ref()) {
            Some(name) => Some(self.price_list(&setup, name).await?),
            None => None,
        };
        let optional = ["currency_id", "taxes_id"].into_iter().filter(|field| setup.has(field));
        let amount = if list.is_some() { "price" } else { "lst_price" };
        let fields: Vec<&str> = ["default_code", amount].into_iter().chain(optional).collect();
        let context = match &list {
            Some(list) => {
                let quantity = query.quantity.unwrap_or(Decimal::ONE);
                // As a number, which JSON has no other of.
                let quantity: f64 = quantity.to_string().parse().unwrap_or(1.0);
                setup.product_context(&[("pricelist", json!(list.id)), ("quantity", json!(quantity))])
            }
            None => setup.product_context(&[]),
        };
        let mut prices = Vec::new();
        for skus in askable(skus).chunks(SKUS) {
            let rows = self.products(coded(skus), None, &fields, context.clone()).await?;
            let taxes = self.taxes(&setup, &rows).await?;
            for (sku, row) in matched(skus, &rows) {
                let (amount, currency) = match &list {
                    Some(list) => (&row.price, &list.currency_id),
                    None => (&row.lst_price, &row.currency_id),
                };
                // Zero is what Odoo has where none was entered.
                if let Some(price) = row.list_price(decimal(amount), related_name(currency), &taxes) {
                    prices.push(Price {
                        asked: sku.clone(),
                        net: price.net,
                        gross: price.gross,
                        currency: price.currency,
                    });
                }
            }
        }
        Ok(prices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(taxes: &[(i64, &str, bool)], ids: &[i64]) -> Option<[Option<String>; 2]> {
        let row: ProductRow = serde_json::from_value(json!({"id": 1, "default_code": "A", "taxes_id": ids})).unwrap();
        let taxes = taxes.iter().map(|&(id, kind, included)| {
            let tax = json!({"id": id, "amount": 21.0, "amount_type": kind, "price_include": included});
            (id, serde_json::from_value(tax).unwrap())
        });
        let price = row.list_price(Some(Decimal::ONE_HUNDRED), Some("RON"), &taxes.collect())?;
        Some([price.net, price.gross].map(|price| price.map(|price| price.to_string())))
    }

    #[test]
    fn taxes_are_told_as_far_as_they_are_simple() {
        let of = |net: Option<&str>, gross: Option<&str>| Some([net.map(str::to_owned), gross.map(str::to_owned)]);
        assert_eq!(told(&[(1, "percent", false)], &[1]), of(Some("100"), Some("121.00")));
        assert_eq!(told(&[(1, "percent", true)], &[1]), of(Some("82.64"), Some("100")));
        assert_eq!(told(&[], &[]), of(Some("100"), None));
        assert_eq!(told(&[(1, "fixed", false)], &[1]), of(Some("100"), None));
        let both = [(1, "percent", false), (2, "percent", false)];
        assert_eq!(told(&both, &[1, 2]), of(Some("100"), Some("142.00")));
        assert_eq!(told(&[(1, "percent", false), (2, "percent", true)], &[1, 2]), None);
    }

    #[test]
    fn clauses_are_joined_as_odoo_reads_them() {
        assert_eq!(any(vec![json!(1)]), [json!(1)]);
        assert_eq!(
            any(vec![json!(1), json!(2), json!(3)]),
            [json!("|"), json!("|"), json!(1), json!(2), json!(3)]
        );
    }
}
