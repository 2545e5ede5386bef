//! Products, stock and prices.
//!
//! `quantity` is what is on hand today; `forecast_quantity` is that, less what planned moves will take and more what they will
//! bring, which is what can still be promised. Both depend on the locations in the context, and a warehouse stands for all
//! below it. So many warehouses, so many calls; for few products it is fewer to ask the locations about each product.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rpc::Effect;
use super::setup::{Setup, WarehouseRow};
use super::values::{decimal, escaped, is_storable, stripped};
use super::{SYSTEM, Tryton};
use crate::Erp;
use crate::catalogue::once;
use crate::error::Error;
use crate::records::{Figures, Item, Price, PriceQuery, Stock, Warehouse};
use crate::time::now;

const PRODUCT: &str = "product.product";
/// How many SKUs are asked for at once.
const SKUS: usize = 200;
/// How many words of a search are looked at; who writes more has said enough.
const WORDS: usize = 12;
/// The longest text that is looked for. No name or code is as long.
const LONGEST: usize = 1_000;

/// A product, with whatever of it was asked for.
#[derive(Debug, Deserialize)]
struct ProductRow {
    id: i64,
    code: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "identifiers.", default)]
    identifiers: Vec<IdentifierRow>,
    #[serde(rename = "default_uom.")]
    uom: Option<UomRow>,
    #[serde(default)]
    quantity: Value,
    #[serde(default)]
    forecast_quantity: Value,
    #[serde(default)]
    list_price_used: Value,
    #[serde(default)]
    sale_price_uom: Value,
    #[serde(rename = "template.")]
    template: Option<TemplateRow>,
}

#[derive(Debug, Deserialize)]
struct IdentifierRow {
    code: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct UomRow {
    id: i64,
    symbol: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TemplateRow {
    #[serde(rename = "account_category.")]
    category: Option<CategoryRow>,
}

#[derive(Debug, Deserialize)]
struct CategoryRow {
    #[serde(rename = "customer_taxes_used.", default)]
    taxes: Vec<TaxRow>,
}

#[derive(Debug, Deserialize)]
struct TaxRow {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    rate: Value,
    #[serde(default)]
    start_date: Value,
    #[serde(default)]
    end_date: Value,
    #[serde(default)]
    childs: Vec<i64>,
}

/// Quantities of a product or in a location.
#[derive(Debug, Deserialize)]
struct QuantityRow {
    id: i64,
    #[serde(default)]
    quantity: Value,
    #[serde(default)]
    forecast_quantity: Value,
}

const ITEM: [&str; 5] = ["code", "name", "type", "identifiers.code", "identifiers.type"];
const QUANTITIES: [&str; 2] = ["quantity", "forecast_quantity"];
const UOM: &str = "default_uom.symbol";
const TAXES: [&str; 5] = [
    "template.account_category.customer_taxes_used.type",
    "template.account_category.customer_taxes_used.rate",
    "template.account_category.customer_taxes_used.start_date",
    "template.account_category.customer_taxes_used.end_date",
    "template.account_category.customer_taxes_used.childs",
];

impl ProductRow {
    fn item(&self) -> Option<Item> {
        let is_barcode = |row: &&IdentifierRow| matches!(row.kind.as_deref(), Some("ean" | "ean13" | "ean8" | "upc"));
        let barcode = self
            .identifiers
            .iter()
            .find(is_barcode)
            .or_else(|| self.identifiers.first());
        Some(Item {
            sku: self.code.clone().filter(|code| !code.is_empty())?,
            name: self.name.clone(),
            barcode: barcode.and_then(|row| row.code.clone()),
        })
    }

    /// Services are not on stock: Tryton says zero of them, and means nothing.
    fn is_stocked(&self) -> bool {
        self.kind.as_deref() != Some("service")
    }

    fn uom(&self) -> Option<String> {
        self.uom.as_ref()?.symbol.clone().filter(|symbol| !symbol.is_empty())
    }

    /// The customer's taxes as a share of the net price; `None` if they are not known, or not that simple.
    fn tax_rate(&self) -> Option<Decimal> {
        let taxes = &self.template.as_ref()?.category.as_ref()?.taxes;
        if taxes.is_empty() {
            return None;
        }
        taxes
            .iter()
            .map(|tax| {
                let simple = tax.kind.as_deref() == Some("percentage")
                    && tax.childs.is_empty()
                    && tax.start_date.is_null()
                    && tax.end_date.is_null();
                simple.then(|| decimal(&tax.rate))?
            })
            .sum()
    }
}

fn figures(quantity: &Value, forecast: &Value) -> Figures {
    Figures {
        on_hand: decimal(quantity).map(|quantity| quantity.normalize()),
        available: decimal(forecast).map(|forecast| forecast.normalize()),
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

/// Each SKU with the products that have it, in the order of the question.
fn matched<'a, 'b>(skus: &[&'a String], rows: &'b [ProductRow]) -> Vec<(&'a String, &'b ProductRow)> {
    let mut by_code: BTreeMap<&str, Vec<&ProductRow>> = BTreeMap::new();
    for row in rows {
        if let Some(code) = &row.code {
            by_code.entry(stripped(code)).or_default().push(row);
        }
    }
    skus.iter()
        .flat_map(|&sku| {
            by_code
                .get(stripped(sku))
                .into_iter()
                .flatten()
                .map(move |&row| (sku, row))
        })
        .collect()
}

impl Tryton {
    async fn products(
        &self,
        domain: Value,
        limit: Option<usize>,
        fields: &[&str],
        context: Value,
    ) -> Result<Vec<ProductRow>, Error> {
        let params = json!([domain, 0, limit, null, fields, context]);
        self.rpc.call(PRODUCT, "search_read", params, Effect::Reads).await
    }

    async fn stock_of(&self, setup: &Setup, skus: &[&String]) -> Result<Vec<Stock>, Error> {
        let Some((first, others)) = setup.warehouses.split_first() else {
            return Ok(Vec::new());
        };
        let fields = [&ITEM[..], &QUANTITIES, &[UOM]].concat();
        let asked_at = now();
        let context = json!({"company": setup.company, "locations": [first.id]});
        let rows = self
            .products(json!([["code", "in", skus]]), None, &fields, context)
            .await?;
        let stocked: Vec<i64> = rows.iter().filter(|row| row.is_stocked()).map(|row| row.id).collect();
        let mut known = self.quantities(setup, &stocked, others).await?;
        for row in rows.iter().filter(|row| row.is_stocked()) {
            known.insert((row.id, first.id), figures(&row.quantity, &row.forecast_quantity));
        }
        let stock = |(sku, row): (&String, &ProductRow)| {
            let in_warehouse = |warehouse: &WarehouseRow| Warehouse {
                code: warehouse.code(),
                name: warehouse.name.clone(),
                figures: known.get(&(row.id, warehouse.id)).copied().unwrap_or_default(),
            };
            let warehouses: Vec<Warehouse> = setup.warehouses.iter().map(in_warehouse).collect();
            Some(Stock {
                asked: sku.clone(),
                item: row.item()?,
                uom: row.uom(),
                total: sum(&warehouses),
                warehouses,
                as_of: Some(asked_at),
            })
        };
        Ok(matched(skus, &rows).into_iter().filter_map(stock).collect())
    }

    /// What there is of products in warehouses, by (product, warehouse).
    async fn quantities(
        &self,
        setup: &Setup,
        products: &[i64],
        warehouses: &[WarehouseRow],
    ) -> Result<BTreeMap<(i64, i64), Figures>, Error> {
        if products.is_empty() || warehouses.is_empty() {
            return Ok(BTreeMap::new());
        }
        let locations: Vec<i64> = warehouses.iter().map(|warehouse| warehouse.id).collect();
        let by_product = products.len() < warehouses.len();
        let locations = &locations[..];
        let asked = if by_product { products } else { locations };
        let read = |id: i64| async move {
            let (model, ids, context) = if by_product {
                (
                    "stock.location",
                    locations,
                    json!({"company": setup.company, "product": id}),
                )
            } else {
                (PRODUCT, products, json!({"company": setup.company, "locations": [id]}))
            };
            let params = json!([ids, QUANTITIES, context]);
            let rows: Vec<QuantityRow> = self.rpc.call(model, "read", params, Effect::Reads).await?;
            Ok::<_, Error>((id, rows))
        };
        let answers = try_join_all(asked.iter().map(|&id| read(id))).await?;
        let mut known = BTreeMap::new();
        for (id, rows) in answers {
            for row in rows {
                let key = if by_product { (id, row.id) } else { (row.id, id) };
                known.insert(key, figures(&row.quantity, &row.forecast_quantity));
            }
        }
        Ok(known)
    }

    pub(super) async fn price_list(&self, setup: &Setup, name: &str) -> Result<PriceListRow, Error> {
        if !setup.has("sale_price_list") {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "use price lists: the module sale_price_list is not activated".to_owned(),
            });
        }
        let missing = || Error::NotFound {
            system: SYSTEM,
            what: "price list of this name".to_owned(),
        };
        if !is_storable(name) || name.len() > LONGEST {
            return Err(missing());
        }
        let domain = json!([["name", "=", name], ["company", "=", setup.company]]);
        let params = json!([domain, 0, 2, null, ["tax_included"], setup.context()]);
        let rows: Vec<PriceListRow> = self
            .rpc
            .call("product.price_list", "search_read", params, Effect::Reads)
            .await?;
        match <[PriceListRow; 1]>::try_from(rows) {
            Ok([row]) => Ok(row),
            Err(rows) if rows.is_empty() => Err(missing()),
            Err(_) => Err(Error::Conflict {
                system: SYSTEM,
                message: "several price lists have this name".to_owned(),
            }),
        }
    }

    /// What the price list makes of the products' prices, for one unit of measure of theirs.
    async fn listed(
        &self,
        setup: &Setup,
        list: &PriceListRow,
        query: &PriceQuery,
        rows: &mut [ProductRow],
    ) -> Result<(), Error> {
        let quantity: f64 = match query.quantity {
            None => 1.0,
            Some(quantity) => quantity.to_string().parse().unwrap_or(1.0),
        };
        let mut by_uom: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for row in &*rows {
            if let Some(uom) = &row.uom {
                by_uom.entry(uom.id).or_default().push(row.id);
            }
        }
        let read = |(uom, ids): (i64, Vec<i64>)| async move {
            let context = json!({"company": setup.company, "price_list": list.id, "quantity": quantity, "uom": uom});
            let params = json!([ids, ["code", "sale_price_uom"], context]);
            let rows: Vec<ProductRow> = self.rpc.call(PRODUCT, "read", params, Effect::Reads).await?;
            Ok::<_, Error>(rows)
        };
        let answers = try_join_all(by_uom.into_iter().map(read)).await?;
        let mut listed: BTreeMap<i64, Value> = answers
            .into_iter()
            .flatten()
            .map(|row| (row.id, row.sale_price_uom))
            .collect();
        for row in rows {
            row.sale_price_uom = listed.remove(&row.id).unwrap_or_default();
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct PriceListRow {
    id: i64,
    #[serde(default)]
    tax_included: Option<Value>,
}

impl PriceListRow {
    fn includes_taxes(&self) -> bool {
        self.tax_included
            .as_ref()
            .is_some_and(|value| value.as_bool().unwrap_or_else(|| value.as_i64() == Some(1)))
    }
}

#[async_trait]
impl Erp for Tryton {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        let whole = stripped(words);
        if whole.is_empty() || limit == 0 || !is_storable(whole) || whole.len() > LONGEST {
            return Ok(Vec::new());
        }
        let setup = self.setup().await?;
        let code = escaped(whole);
        let exact = json!([
            ["code", "!=", null],
            ["OR", ["code", "ilike", code], ["identifiers.code", "ilike", code]]
        ]);
        let named: Vec<Value> = std::iter::once(json!(["code", "!=", null]))
            .chain(
                whole
                    .split_whitespace()
                    .take(WORDS)
                    .map(|word| json!(["rec_name", "ilike", format!("%{}%", escaped(word))])),
            )
            .collect();
        let (exact, named) = tokio::try_join!(
            self.products(exact, Some(limit), &ITEM, setup.context()),
            self.products(Value::Array(named), Some(limit), &ITEM, setup.context()),
        )?;
        let mut seen = BTreeSet::new();
        let rows = exact.into_iter().chain(named).filter(|row| seen.insert(row.id));
        Ok(rows.filter_map(|row| row.item()).take(limit).collect())
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let setup = self.setup().await?;
        if !setup.has("stock") {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "tell stock: the module stock is not activated".to_owned(),
            });
        }
        if let Some(missing) = setup.missing.first() {
            return Err(Error::NotFound {
                system: SYSTEM,
                what: format!("warehouse \"{missing}\"; correct warehouses"),
            });
        }
        if setup.warehouses.is_empty() {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "tell stock: the user sees no warehouse".to_owned(),
            });
        }
        let mut stock = Vec::new();
        for skus in askable(skus).chunks(SKUS) {
            stock.extend(self.stock_of(&setup, skus).await?);
        }
        Ok(stock)
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let setup = self.setup().await?;
        let mut domain = vec![json!(["code", "!=", null]), json!(["code", "!=", ""])];
        domain.extend(after.map(|after| json!(["code", ">", after])));
        let params = json!([domain, 0, limit, [["code", "ASC"]], ["code"], setup.context()]);
        let rows: Vec<ProductRow> = self.rpc.call(PRODUCT, "search_read", params, Effect::Reads).await?;
        Ok(once(rows.into_iter().filter_map(|row| row.code)))
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
        let mut fields = vec!["code", "list_price_used", UOM];
        if setup.has("account_product") {
            fields.extend(TAXES);
        }
        let mut prices = Vec::new();
        for skus in askable(skus).chunks(SKUS) {
            let domain = json!([["code", "in", skus]]);
            let mut rows = self.products(domain, None, &fields, setup.context()).await?;
            if let Some(list) = &list {
                self.listed(&setup, list, query, &mut rows).await?;
            }
            for (sku, row) in matched(skus, &rows) {
                let with_taxes = list.as_ref().is_some_and(PriceListRow::includes_taxes);
                let amount = decimal(if list.is_some() {
                    &row.sale_price_uom
                } else {
                    &row.list_price_used
                });
                let Some(amount) = amount else { continue };
                let rounded = |amount: Decimal| {
                    amount.round_dp_with_strategy(setup.digits, RoundingStrategy::MidpointAwayFromZero)
                };
                let factor = row.tax_rate().map(|rate| Decimal::ONE + rate);
                let (net, gross) = if with_taxes {
                    let net = factor.and_then(|factor| amount.checked_div(factor));
                    (net.map(rounded), Some(amount))
                } else {
                    let gross = factor.and_then(|factor| amount.checked_mul(factor));
                    (Some(amount), gross.map(rounded))
                };
                prices.push(Price {
                    asked: sku.clone(),
                    net,
                    gross,
                    currency: setup.currency.clone(),
                });
            }
        }
        Ok(prices)
    }
}
