//! What tests of vendors' connectors have in common: how they say what they expect.

use std::str::FromStr as _;

use allai_connectors::{Check, Figures, Found, Stock};
use rust_decimal::Decimal;

/// SKUs that mean something to somebody.
pub(crate) const ODD: [&str; 3] = ["100%_\\", "[\"code\",\"ilike\",\"%\"]", "x'; DROP TABLE products; --"];

pub(crate) fn number(text: &str) -> Option<Decimal> {
    Decimal::from_str(text).ok()
}

pub(crate) fn on_hand(text: &str) -> Figures {
    Figures {
        on_hand: number(text),
        available: None,
    }
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

pub(crate) fn told(stock: &[Stock]) -> Vec<(&str, Option<Decimal>)> {
    stock
        .iter()
        .map(|stock| (stock.asked.as_str(), stock.total.on_hand))
        .collect()
}

pub(crate) fn bad<'a>(checks: &'a [Check], what: &str) -> (&'a str, &'a str) {
    let check = checks.iter().find(|check| check.what == what);
    match &check.unwrap_or_else(|| panic!("no {what}: {checks:?}")).found {
        Found::Bad { problem, remedy } => (problem, remedy),
        good @ Found::Good(_) => panic!("{what}: {good:?}"),
    }
}

pub(crate) fn are_good(checks: &[Check]) -> bool {
    checks.iter().all(|check| matches!(check.found, Found::Good(_)))
}
