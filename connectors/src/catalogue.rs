//! Products as a vendor lists them, found by code and by words here, because its own filters are not documented enough to be
//! relied on.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::records::{Figures, Item, Price, Stock, Warehouse};

/// The longest code that is asked for, in bytes. No system has one as long.
const LONGEST: usize = 256;
/// How many words of a search are looked at; who writes more has said enough.
const WORDS: usize = 12;
/// Prices computed with VAT, or without, have as many decimals as the price itself, and no fewer than these.
const DECIMALS: u32 = 2;

/// Products, as they were at one time.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    products: Vec<Product>,
    by_code: HashMap<String, Vec<usize>>,
    asked_at: Option<DateTime<Utc>>,
}

/// A product with a code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) code: String,
    pub(crate) name: Option<String>,
    pub(crate) uom: Option<String>,
    pub(crate) places: Vec<Place>,
    pub(crate) prices: Vec<ListPrice>,
}

/// How much of a product there is in one place; it has no code if the system does not say where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) code: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) quantity: Option<Decimal>,
}

/// A price, without and with VAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListPrice {
    pub(crate) net: Option<Decimal>,
    pub(crate) gross: Option<Decimal>,
    pub(crate) currency: Option<String>,
}

impl Catalogue {
    /// Rows that agree in code, name and unit are one product, and of those the ones in one place are added up: systems that
    /// keep lots list a product once for each. Those that do not agree stay several products with one code.
    pub(crate) fn new(rows: impl IntoIterator<Item = Product>, asked_at: DateTime<Utc>) -> Self {
        let mut products: Vec<Product> = Vec::new();
        let mut by_code: HashMap<String, Vec<usize>> = HashMap::new();
        for row in rows {
            let alike = by_code.entry(folded(&row.code)).or_default();
            let known = alike.iter().copied().find(|&at| products[at].is_like(&row));
            let at = known.unwrap_or_else(|| {
                alike.push(products.len());
                products.push(Product {
                    places: Vec::new(),
                    prices: Vec::new(),
                    ..row.clone()
                });
                products.len() - 1
            });
            for place in row.places {
                products[at].add(place);
            }
            for price in row.prices {
                if !products[at].prices.contains(&price) {
                    products[at].prices.push(price);
                }
            }
        }
        Self {
            products,
            by_code,
            asked_at: Some(asked_at),
        }
    }

    /// How many products there are.
    pub(crate) fn len(&self) -> usize {
        self.products.len()
    }

    /// The products with this code: written so, or else the same but for the case of letters.
    pub(crate) fn find(&self, sku: &str) -> Vec<&Product> {
        let alike = self.by_code.get(&folded(sku)).map_or(&[][..], Vec::as_slice);
        let alike = || alike.iter().map(|&at| &self.products[at]);
        let exact: Vec<&Product> = alike().filter(|product| product.code == sku.trim()).collect();
        if exact.is_empty() { alike().collect() } else { exact }
    }

    /// The stock of this SKU; several if several products have it.
    pub(crate) fn stock(&self, sku: &str) -> Vec<Stock> {
        self.find(sku)
            .into_iter()
            .map(|product| product.stock(sku, self.asked_at))
            .collect()
    }

    /// The prices of this SKU; several if it has several.
    pub(crate) fn prices(&self, sku: &str) -> Vec<Price> {
        let mut prices: Vec<Price> = Vec::new();
        for price in self.find(sku).into_iter().flat_map(|product| &product.prices) {
            let price = Price {
                asked: sku.to_owned(),
                net: price.net,
                gross: price.gross,
                currency: price.currency.clone(),
            };
            if !prices.contains(&price) {
                prices.push(price);
            }
        }
        prices
    }

    /// The codes behind this one, in their order.
    pub(crate) fn codes(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        let codes: BTreeSet<&str> = self.products.iter().map(|product| product.code.as_str()).collect();
        let behind = codes.into_iter().filter(|code| after.is_none_or(|after| *code > after));
        behind.take(limit).map(str::to_owned).collect()
    }

    /// The items with this code.
    pub(crate) fn coded(&self, sku: &str) -> Vec<Item> {
        self.find(sku).into_iter().map(Product::item).collect()
    }

    /// The items with this code, then those with all these words in their names.
    pub(crate) fn search(&self, words: &str, limit: usize) -> Vec<Item> {
        let exact = self.find(words);
        let words = folded(words);
        if words.is_empty() {
            return Vec::new();
        }
        let is_named = |product: &&Product| {
            let name = product.name.as_deref().map(folded).unwrap_or_default();
            words.split_whitespace().take(WORDS).all(|word| name.contains(word))
        };
        let mut seen = BTreeSet::new();
        exact
            .into_iter()
            .chain(self.products.iter().filter(is_named))
            .filter(|product| seen.insert((&product.code, &product.name)))
            .map(Product::item)
            .take(limit)
            .collect()
    }
}

impl Product {
    fn is_like(&self, other: &Self) -> bool {
        (&self.code, &self.name, &self.uom) == (&other.code, &other.name, &other.uom)
    }

    fn add(&mut self, place: Place) {
        let is_same = |known: &&mut Place| (&known.code, &known.name) == (&place.code, &place.name);
        match self.places.iter_mut().find(is_same) {
            Some(known) => {
                known.quantity = known.quantity.zip(place.quantity).and_then(|(a, b)| a.checked_add(b));
            }
            None => self.places.push(place),
        }
    }

    fn item(&self) -> Item {
        Item {
            sku: self.code.clone(),
            name: self.name.clone(),
            barcode: None,
        }
    }

    fn stock(&self, asked: &str, as_of: Option<DateTime<Utc>>) -> Stock {
        // What is in no place is not known: of services, nothing is kept.
        let total = self
            .places
            .iter()
            .map(|place| place.quantity)
            .reduce(|a, b| a.zip(b).and_then(|(a, b)| a.checked_add(b)))
            .flatten();
        let warehouse = |place: &Place| {
            Some(Warehouse {
                code: place.code.clone()?,
                name: place.name.clone(),
                figures: on_hand(place.quantity),
            })
        };
        Stock {
            asked: asked.to_owned(),
            item: self.item(),
            uom: self.uom.clone(),
            total: on_hand(total),
            warehouses: self.places.iter().filter_map(warehouse).collect(),
            as_of,
        }
    }
}

impl ListPrice {
    /// What a price is without and with VAT, as far as can be told; `None` if nothing can. A price of zero is what such systems
    /// have where none was entered.
    pub(crate) fn new(
        amount: Option<Decimal>,
        vat_percentage: Option<Decimal>,
        vat_included: Option<bool>,
        currency: Option<String>,
    ) -> Option<Self> {
        let amount = amount.filter(|amount| *amount > Decimal::ZERO)?;
        let decimals = amount.scale().max(DECIMALS);
        let rounded = |amount: Decimal| amount.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
        let factor = vat_percentage
            .filter(|percentage| !percentage.is_sign_negative())
            .and_then(|percentage| percentage.checked_div(Decimal::ONE_HUNDRED))
            .and_then(|rate| rate.checked_add(Decimal::ONE));
        let (net, gross) = if vat_included? {
            let net = factor.and_then(|factor| amount.checked_div(factor));
            (net.map(rounded), Some(amount))
        } else {
            let gross = factor.and_then(|factor| amount.checked_mul(factor));
            (Some(amount), gross.map(rounded))
        };
        Some(Self { net, gross, currency })
    }
}

fn on_hand(quantity: Option<Decimal>) -> Figures {
    Figures {
        on_hand: quantity.map(|quantity| quantity.normalize()),
        available: None,
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Codes in their order, each once.
pub(crate) fn once(codes: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut codes: Vec<String> = codes.into_iter().collect();
    codes.dedup();
    codes
}

/// The SKUs to ask for, each once: those that no system has are left out.
pub(crate) fn askable(skus: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    skus.iter()
        .filter(|sku| !sku.trim().is_empty() && !sku.contains('\0') && sku.len() <= LONGEST)
        .filter(|sku| seen.insert(sku.as_str()))
        .cloned()
        .collect()
}

/// Whether a text may be words to search for.
pub(crate) fn is_searchable(words: &str) -> bool {
    !words.trim().is_empty() && !words.contains('\0') && words.len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<Decimal> {
        text.parse().ok()
    }

    fn row(code: &str, name: &str, warehouse: &str, quantity: Option<Decimal>) -> Product {
        Product {
            code: code.to_owned(),
            name: Some(name.to_owned()),
            uom: Some("buc".to_owned()),
            places: vec![Place {
                code: Some(warehouse.to_owned()),
                name: None,
                quantity,
            }],
            prices: Vec::new(),
        }
    }

    fn totals(catalogue: &Catalogue, sku: &str) -> Vec<Option<Decimal>> {
        let stock = catalogue.stock(sku);
        stock.iter().map(|stock| stock.total.on_hand).collect()
    }

    #[test]
    fn rows_of_one_product_are_added_up_and_others_stay_apart() {
        let catalogue = Catalogue::new(
            [
                row("A", "Pump", "B", number("1.5")),
                row("A", "Pump", "C", number("2")),
                row("A", "Pump", "B", number("0.5")),
                row("A", "Another", "B", number("9")),
                row("U", "Unknown", "B", None),
                row("U", "Unknown", "C", number("1")),
            ],
            DateTime::UNIX_EPOCH,
        );
        assert_eq!(totals(&catalogue, "A"), [number("4"), number("9")]);
        assert_eq!(catalogue.stock("A")[0].warehouses.len(), 2);
        assert_eq!(totals(&catalogue, "U"), [None], "unknown and one is not one");
        assert_eq!(totals(&catalogue, "V"), []);
    }

    #[test]
    fn a_code_is_found_as_it_is_written_or_else_whatever_its_case() {
        let rows = [
            row("a1", "Small", "B", number("1")),
            row("A1", "Large", "B", number("2")),
        ];
        let catalogue = Catalogue::new(rows, DateTime::UNIX_EPOCH);
        assert_eq!(totals(&catalogue, "a1"), [number("1")]);
        assert_eq!(totals(&catalogue, " A1 "), [number("2")]);
        let catalogue = Catalogue::new([row("PH-1", "Pump", "B", number("1"))], DateTime::UNIX_EPOCH);
        assert_eq!(totals(&catalogue, "ph-1"), [number("1")]);
        assert_eq!(totals(&catalogue, "PH-"), [], "part of a code is no code");
    }

    #[test]
    fn a_price_is_told_as_far_as_it_is_known() {
        let price = |amount: &str, vat: Option<&str>, included| {
            ListPrice::new(number(amount), vat.and_then(number), included, None).map(|price| [price.net, price.gross])
        };
        let told = |net: &str, gross: &str| Some([number(net), number(gross)]);
        assert_eq!(price("119.00", Some("19"), Some(true)), told("100.00", "119.00"));
        assert_eq!(price("200.00", Some("21"), Some(false)), told("200.00", "242.00"));
        assert_eq!(price("0.3333", Some("21"), Some(false)), told("0.3333", "0.4033"));
        assert_eq!(price("10", Some("21"), Some(true)), told("8.26", "10"));
        assert_eq!(price("10", Some("0"), Some(false)), told("10", "10"));
        assert_eq!(price("10", None, Some(true)), Some([None, number("10")]));
        assert_eq!(price("10", Some("21"), None), None);
        assert_eq!(price("0.00", Some("21"), Some(true)), None);
    }

    #[test]
    fn what_no_system_has_is_not_asked_for() {
        let skus = ["a", "", " ", "a", "n\0l", &"x".repeat(300), "b"].map(str::to_owned);
        assert_eq!(askable(&skus), ["a", "b"]);
    }
}
