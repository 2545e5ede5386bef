//! From rows to stock, prices and items.
//!
//! Columns are known by their names. One that is not there, or NULL, is not known.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::SYSTEM;
use super::query::{Purpose, nearest};
use super::value::Cell;
use crate::{Error, Figures, Item, Price, Stock, Warehouse};

/// What a query returned.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The names of the columns; empty if there are no rows.
    pub(super) columns: Vec<String>,
    pub(super) cells: Vec<Vec<Cell>>,
    /// Whether there were more than were wanted.
    pub(super) cut: bool,
    /// Whether a value cannot be written in the database's encoding: nothing there has it.
    pub(super) unwritable: bool,
}

impl Purpose {
    /// The columns that mean something.
    pub(super) const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Stock => &[
                "sku",
                "name",
                "barcode",
                "uom",
                "warehouse",
                "warehouse_name",
                "on_hand",
                "available",
                "as_of",
            ],
            Self::Prices => &["sku", "net", "gross", "currency"],
            Self::Search => &["sku", "name", "barcode"],
        }
    }

    /// Columns of which one at least is needed, or the query is of no use.
    const fn needed(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Stock => &[&["on_hand", "available"]],
            Self::Prices => &[&["net", "gross"]],
            Self::Search => &[&["sku"]],
        }
    }
}

/// What is wrong with the columns of a query, if something is; else which of them it does not tell.
pub(super) fn judge(purpose: Purpose, columns: &[String]) -> Result<Vec<&'static str>, (String, String)> {
    let has = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    let mut problems = Vec::new();
    let mut remedies = Vec::new();
    for needed in purpose.needed() {
        if !needed.iter().any(|name| has(name)) {
            let names = needed.join(" or ");
            problems.push(format!("it has no column {names}"));
            remedies.push(format!("name one {names}, by AS"));
        }
    }
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].iter().any(|other| other.eq_ignore_ascii_case(column)) {
            problems.push(format!("it has two columns {column:?}"));
            remedies.push("give each another name".to_owned());
        } else if !purpose.columns().iter().any(|name| column.eq_ignore_ascii_case(name)) {
            let free = purpose.columns().iter().copied().filter(|name| !has(name));
            problems.push(format!("it has a column {column:?} that means nothing here"));
            remedies.push(nearest(column, free).map_or_else(
                || format!("leave it out; known are {}", purpose.columns().join(", ")),
                |meant| format!("call it {meant}, or leave it out"),
            ));
        }
    }
    if problems.is_empty() {
        let untold = purpose.columns().iter().copied().filter(|name| !has(name));
        Ok(untold.collect())
    } else {
        Err((problems.join("; "), remedies.join("; ")))
    }
}

/// A row whose columns are asked for by their names.
struct Reading<'a> {
    purpose: Purpose,
    columns: &'a [String],
    row: &'a [Cell],
}

impl Reading<'_> {
    fn cell(&self, name: &'static str) -> Result<&Cell, Error> {
        let mut found = self
            .columns
            .iter()
            .zip(self.row)
            .filter(|(column, _)| column.eq_ignore_ascii_case(name))
            .map(|(_, cell)| cell);
        match (found.next(), found.next()) {
            (None, _) => Ok(&Cell::Null),
            (Some(cell), None) => Ok(cell),
            (Some(_), Some(_)) => Err(self.unreadable(name, "comes twice")),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        let text = self.cell(name)?.clone().text();
        text.map_err(|problem| self.unreadable(name, problem))
    }

    fn decimal(&self, name: &'static str) -> Result<Option<Decimal>, Error> {
        let decimal = self.cell(name)?.decimal();
        decimal.map_err(|problem| self.unreadable(name, problem))
    }

    fn time(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Error> {
        let time = self.cell(name)?.time();
        time.map_err(|problem| self.unreadable(name, problem))
    }

    fn unreadable(&self, column: &str, problem: &str) -> Error {
        Error::Unreadable {
            system: SYSTEM,
            expected: "the columns of a query",
            problem: format!("column {column} of {} {problem}", self.purpose.key()),
        }
    }

    fn item(&self) -> Result<Option<Item>, Error> {
        let Some(sku) = self.text("sku")? else {
            return Ok(None);
        };
        Ok(Some(Item {
            sku,
            name: self.text("name")?,
            barcode: self.text("barcode")?,
        }))
    }
}

impl Rows {
    fn read(&self, purpose: Purpose) -> impl Iterator<Item = Reading<'_>> {
        self.cells.iter().map(move |row| Reading {
            purpose,
            columns: &self.columns,
            row,
        })
    }

    /// The SKU of each row.
    pub(super) fn skus(&self, purpose: Purpose) -> Result<Vec<Option<String>>, Error> {
        self.read(purpose).map(|row| row.text("sku")).collect()
    }

    /// The rows for which this holds.
    pub(super) fn only(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let kept = self.cells.iter().enumerate().filter(|(at, _)| keep(*at));
        Self {
            columns: self.columns.clone(),
            cells: kept.map(|(_, row)| row.clone()).collect(),
            cut: self.cut,
            unwritable: self.unwritable,
        }
    }

    /// The items, in the order of the rows.
    pub(super) fn items(&self) -> Result<Vec<Item>, Error> {
        self.read(Purpose::Search)
            .map(|row| row.item()?.ok_or_else(|| row.unreadable("sku", "is NULL or missing")))
            .collect()
    }

    /// The prices that these rows are, all of which belong to one SKU.
    pub(super) fn prices(&self, asked: &str) -> Result<Vec<Price>, Error> {
        self.read(Purpose::Prices)
            .map(|row| {
                Ok(Price {
                    asked: asked.to_owned(),
                    net: row.decimal("net")?,
                    gross: row.decimal("gross")?,
                    currency: row.text("currency")?,
                })
            })
            .collect()
    }

    /// The stock that these rows are, all of which belong to one SKU: several if they are of several products.
    pub(super) fn stock(&self, asked: &str, now: DateTime<Utc>) -> Result<Vec<Stock>, Error> {
        let mut products: Vec<Product> = Vec::new();
        for row in self.read(Purpose::Stock) {
            let item = row.item()?.unwrap_or(Item {
                sku: asked.to_owned(),
                name: row.text("name")?,
                barcode: row.text("barcode")?,
            });
            let uom = row.text("uom")?;
            let figures = Figures {
                on_hand: row.decimal("on_hand")?,
                available: row.decimal("available")?,
            };
            let warehouse = row.text("warehouse")?;
            let known = products.iter_mut().find(|one| one.item == item && one.uom == uom);
            let product = if let Some(product) = known {
                product
            } else {
                products.push(Product {
                    item,
                    uom,
                    total: None,
                    warehouses: Vec::new(),
                    as_of: None,
                });
                products.last_mut().expect("just pushed")
            };
            // The oldest: all of it was true by then at the latest.
            let as_of = row.time("as_of")?;
            product.as_of = [product.as_of, as_of].into_iter().flatten().min();
            let again = match warehouse {
                None => product.total.replace(figures).is_some(),
                Some(code) => {
                    let name = row.text("warehouse_name")?;
                    let again = product.warehouses.iter().any(|one| one.code == code);
                    product.warehouses.push(Warehouse { code, name, figures });
                    again
                }
            };
            if again {
                return Err(Error::Conflict {
                    system: SYSTEM,
                    message: "stock_query returns several rows of one product and one warehouse; \
                              group it by product and warehouse"
                        .to_owned(),
                });
            }
        }
        products
            .into_iter()
            .map(|product| product.into_stock(asked, now))
            .collect()
    }
}

struct Product {
    item: Item,
    uom: Option<String>,
    total: Option<Figures>,
    warehouses: Vec<Warehouse>,
    as_of: Option<DateTime<Utc>>,
}

impl Product {
    fn into_stock(self, asked: &str, now: DateTime<Utc>) -> Result<Stock, Error> {
        let warehouses = self.warehouses;
        let total = match self.total {
            Some(total) => total,
            None => Figures {
                on_hand: sum(warehouses.iter().map(|one| one.figures.on_hand))?,
                available: sum(warehouses.iter().map(|one| one.figures.available))?,
            },
        };
        Ok(Stock {
            asked: asked.to_owned(),
            item: self.item,
            uom: self.uom,
            total,
            warehouses,
            as_of: Some(self.as_of.unwrap_or(now)),
        })
    }
}

/// Not known if one of them is not.
fn sum(figures: impl Iterator<Item = Option<Decimal>>) -> Result<Option<Decimal>, Error> {
    let mut total = Decimal::ZERO;
    for figure in figures {
        let Some(figure) = figure else {
            return Ok(None);
        };
        total = total.checked_add(figure).ok_or_else(|| Error::Unreadable {
            system: SYSTEM,
            expected: "figures that can be added",
            problem: "their sum has more than 28 digits".to_owned(),
        })?;
    }
    Ok(Some(total))
}
