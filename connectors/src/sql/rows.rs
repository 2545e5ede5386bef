//! From rows to stock, prices and items.
//!
//! Columns are known by their names. One that is not there, or NULL, is not known.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::SYSTEM;
use super::query::{Purpose, nearest};
use super::value::Cell;
use crate::{Error, Figures, Item, Price, Row, Stock, Warehouse};

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
            Self::Catalogue => &["sku"],
            Self::Own => &[],
        }
    }

    /// Columns of which one at least is needed, or the query is of no use.
    const fn needed(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Stock => &[&["on_hand", "available"]],
            Self::Prices => &[&["net", "gross"]],
            Self::Search | Self::Catalogue => &[&["sku"]],
            Self::Own => &[],
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

    /// The rows of one of the administrator's own queries, by the names of the columns, in small letters: texts, numbers too.
    pub(super) fn objects(self) -> Result<Vec<Row>, Error> {
        let columns: Vec<String> = self.columns.iter().map(|column| column.to_lowercase()).collect();
        let object = |row: Vec<Cell>| {
            let cells = columns.iter().cloned().zip(row);
            let values = cells.map(|(column, cell)| match cell.text() {
                Ok(text) => Ok((column, text)),
                Err(problem) => Err(Error::Unreadable {
                    system: SYSTEM,
                    expected: "the columns of a query",
                    problem: format!("column {column} {problem}"),
                }),
            });
            values.collect()
        };
        self.cells.into_iter().map(object).collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-01-19T10:00:00Z";

    fn rows(columns: &[&str], cells: Vec<Vec<Cell>>) -> Rows {
        Rows {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            cells,
            ..Rows::default()
        }
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn the_time_is_the_oldest_that_is_told_or_that_of_asking() {
        let columns = ["WAREHOUSE", "On_Hand", "as_of"];
        let now = NOW.parse().unwrap();
        let told = rows(
            &columns,
            vec![
                vec![text("A"), text("1"), text("2026-01-19 09:00:00")],
                vec![text("B"), text("1"), text("2026-01-18 09:00:00")],
                vec![text("C"), text("1"), Cell::Null],
            ],
        );
        let stock = told.stock("x", now).unwrap();
        assert_eq!(stock[0].as_of.unwrap().to_rfc3339(), "2026-01-18T09:00:00+00:00");
        assert_eq!(stock[0].total.on_hand, Some(Decimal::from(3)));
        assert_eq!(stock[0].item.sku, "x");
        let untold = rows(&columns, vec![vec![text("A"), text("1"), Cell::Null]]);
        assert_eq!(untold.stock("x", now).unwrap()[0].as_of, Some(now));
        let wrong = rows(&columns, vec![vec![text("A"), text("1"), text("soon")]]);
        let error = wrong.stock("x", now).unwrap_err().to_string();
        assert!(error.contains("as_of") && !error.contains("soon"), "{error}");
    }

    #[test]
    fn a_sum_that_cannot_be_held_is_not_guessed() {
        let most = Cell::Text(Decimal::MAX.to_string());
        let rows = rows(
            &["warehouse", "on_hand"],
            vec![vec![text("A"), most.clone()], vec![text("B"), most]],
        );
        let error = rows.stock("x", NOW.parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
    }

    #[test]
    fn a_column_that_comes_twice_is_not_chosen_from() {
        let rows = rows(&["on_hand", "ON_HAND"], vec![vec![text("1"), text("2")]]);
        let error = rows.stock("x", NOW.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("comes twice"), "{error}");
    }

    #[test]
    fn a_price_or_an_item_of_which_nothing_is_known_says_so() {
        let prices = rows(&["sku"], vec![vec![text("x")]]).prices("x").unwrap();
        assert_eq!(
            (prices[0].net, prices[0].gross, &prices[0].currency),
            (None, None, &None)
        );
        let error = rows(&["name"], vec![vec![text("x")]]).items().unwrap_err();
        assert!(error.to_string().contains("column sku"), "{error}");
    }

    proptest! {
        /// Whatever the rows, a total is the sum of its warehouses, or unknown because one of them is.
        #[test]
        fn totals_are_sums(figures in proptest::collection::vec(proptest::option::weighted(0.9, -1_000_000_i64..1_000_000), 1..20)) {
            let cells = figures.iter().enumerate().map(|(at, figure)| {
                let figure = figure.map_or(Cell::Null, |figure| Cell::Text(Decimal::new(figure, 3).to_string()));
                vec![Cell::Text(at.to_string()), figure]
            });
            let rows = rows(&["warehouse", "available"], cells.collect());
            let stock = rows.stock("x", NOW.parse().unwrap()).unwrap();
            let sum: Option<i64> = figures.iter().copied().sum();
            prop_assert_eq!(stock[0].total.available, sum.map(|sum| Decimal::new(sum, 3)));
            prop_assert_eq!(stock[0].total.on_hand, None);
            prop_assert_eq!(stock[0].warehouses.len(), figures.len());
        }
    }
}
