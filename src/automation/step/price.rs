//! `do = "price"`: what so many of a product cost, line by line and in all, with VAT. Gives `lines`, `total` and `found`, whether every
//! price is known; amounts are decimal numbers as text, to the ban.
//!
//! A line's net amount is rounded, its VAT is that of the rounded amount, and totals are sums of lines, as on an invoice.

use std::collections::BTreeMap;

use allai_connectors::{self as connectors, PriceQuery};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Reading};
use crate::automation::template::{Template, rounded};
use crate::automation::tools::Tools;

/// So many lines are worked out at once.
const MOST: usize = 50;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Price {
    pub(super) asked: Template,
    connector: String,
    /// In percent.
    vat: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// SKUs, or items with `sku` and `quantity`.
    items: Value,
    /// How many of those that do not say it; 1.
    quantity: Option<Value>,
    /// The customer's group or price list, in the system's words.
    price_list: Option<Value>,
    /// The connector that knows prices.
    connector: String,
    /// VAT in percent; 21.
    vat: Option<f64>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Price> {
    let keys: Keys = reading.keys(own)?;
    reading.connector("connector", &keys.connector, "does not tell prices", |connector| {
        connector.capabilities().prices && connector.erp().is_some()
    });
    let vat = keys.vat.unwrap_or(21.0);
    let vat = Decimal::try_from(vat)
        .ok()
        .filter(|vat| (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(vat));
    if vat.is_none() {
        reading.wrong(&["vat"], "not a rate in percent", "write e.g. vat = 21");
    }
    let asked = json!({"items": keys.items, "quantity": keys.quantity, "price_list": keys.price_list});
    Some(Price {
        asked: reading.template(&[], &asked),
        connector: keys.connector,
        vat: vat.unwrap_or_default(),
    })
}

impl Price {
    pub(super) async fn perform(&self, input: &Value, tools: &Tools) -> Result<Value, Failure> {
        let otherwise = decimal(&input["quantity"]).unwrap_or(Decimal::ONE);
        let asked = asked(&input["items"], otherwise)?;
        let connector = tools.connector(&self.connector)?;
        let erp = connector
            .erp()
            .ok_or_else(|| Failure::lasting(format!("{} does not tell prices", self.connector)))?;
        let mut lines = Vec::new();
        for (sku, quantity) in asked {
            let query = PriceQuery {
                quantity: Some(quantity),
                price_list: input["price_list"].as_str().map(str::to_owned),
            };
            let prices = erp.prices(std::slice::from_ref(&sku), &query).await?;
            lines.push(Line::new(sku, quantity, prices.first(), self.vat));
        }
        Ok(told(&lines, self.vat))
    }
}

/// What is asked for: each SKU and how many of it.
fn asked(items: &Value, otherwise: Decimal) -> Result<Vec<(String, Decimal)>, Failure> {
    let items = match items {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    if items.len() > MOST {
        return Err(Failure::lasting(format!("more than {MOST} lines at once")));
    }
    let line = |item: &Value| {
        let sku = item.as_str().or_else(|| item["sku"].as_str())?.trim();
        let quantity = item.get("quantity").and_then(decimal).unwrap_or(otherwise);
        (!sku.is_empty() && quantity > Decimal::ZERO).then(|| (sku.to_owned(), quantity))
    };
    Ok(items.iter().filter_map(line).collect())
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// A line of a quote.
#[derive(Debug, PartialEq)]
struct Line {
    sku: String,
    quantity: Decimal,
    /// Net and VAT of the whole line, and net of one unit; `None`: the price is not known.
    amounts: Option<(Decimal, Decimal, Decimal)>,
    currency: Option<String>,
}

impl Line {
    fn new(sku: String, quantity: Decimal, price: Option<&connectors::Price>, vat: Decimal) -> Self {
        let rate = vat / Decimal::ONE_HUNDRED;
        let amounts = price.and_then(|price| match (price.net, price.gross) {
            (Some(net), _) => {
                let line = rounded(net.checked_mul(quantity)?);
                Some((line, rounded(line.checked_mul(rate)?), net))
            }
            // A shop's price with VAT stays what it is: the VAT is what is in it.
            (None, Some(gross)) => {
                let line = rounded(gross.checked_mul(quantity)?);
                let net = rounded(line.checked_div(Decimal::ONE + rate)?);
                Some((net, line - net, gross.checked_div(Decimal::ONE + rate)?))
            }
            (None, None) => None,
        });
        Self {
            sku,
            quantity,
            amounts,
            currency: price.and_then(|price| price.currency.clone()),
        }
    }

    fn told(&self) -> Value {
        let amount = |amount: Option<Decimal>| amount.map(|amount| format!("{:.2}", rounded(amount)));
        let net = self.amounts.map(|(net, _, _)| net);
        let vat = self.amounts.map(|(_, vat, _)| vat);
        let gross = self.amounts.map(|(net, vat, _)| net + vat);
        json!({
            "sku": self.sku,
            "quantity": self.quantity.normalize().to_string(),
            "unit_net": amount(self.amounts.map(|(_, _, unit)| unit)),
            "net": amount(net),
            "vat": amount(vat),
            "gross": amount(gross),
            "currency": self.currency,
        })
    }
}

fn told(lines: &[Line], vat: Decimal) -> Value {
    let known: Option<Vec<_>> = lines.iter().map(|line| line.amounts).collect();
    let currency = lines.first().and_then(|line| line.currency.clone());
    let is_one_currency = lines.iter().all(|line| line.currency == currency);
    let total = known.filter(|known| !known.is_empty() && is_one_currency).map(|known| {
        let net: Decimal = known.iter().map(|(net, _, _)| *net).sum();
        let vat: Decimal = known.iter().map(|(_, vat, _)| *vat).sum();
        let text = |amount: Decimal| format!("{amount:.2}");
        json!({"net": text(net), "vat": text(vat), "gross": text(net + vat), "currency": currency})
    });
    json!({
        "found": total.is_some(),
        "lines": lines.iter().map(Line::told).collect::<Vec<_>>(),
        "total": total,
        "vat_percent": vat.normalize().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(quantity: &str, net: Option<&str>, gross: Option<&str>) -> Line {
        let price = connectors::Price {
            asked: "A".to_owned(),
            net: net.map(|net| net.parse().unwrap()),
            gross: gross.map(|gross| gross.parse().unwrap()),
            currency: Some("RON".to_owned()),
        };
        Line::new(
            "A".to_owned(),
            quantity.parse().unwrap(),
            Some(&price),
            "21".parse().unwrap(),
        )
    }

    #[test]
    fn amounts_are_right_to_the_ban() {
        let lines = [
            line("3", Some("33.335"), None),
            line("2", None, Some("121.00")),
            line("0.5", Some("0.01"), None),
        ];
        let told = told(&lines, "21".parse().unwrap());
        // 100.005 is rounded up before VAT is taken of it.
        assert_eq!(told["lines"][0]["net"], "100.01");
        assert_eq!(told["lines"][0]["vat"], "21.00");
        assert_eq!(
            told["lines"][1],
            json!({"sku": "A", "quantity": "2", "unit_net": "100.00", "net": "200.00",
            "vat": "42.00", "gross": "242.00", "currency": "RON"})
        );
        assert_eq!(told["lines"][2]["net"], "0.01");
        assert_eq!(
            told["total"],
            json!({"net": "300.02", "vat": "63.00", "gross": "363.02", "currency": "RON"})
        );
    }

    #[test]
    fn an_unknown_price_is_not_zero_and_leaves_no_total() {
        let unknown = Line::new("B".to_owned(), Decimal::ONE, None, "21".parse().unwrap());
        let told = told(&[line("1", Some("10"), None), unknown], "21".parse().unwrap());
        assert_eq!(told["lines"][1]["gross"], Value::Null);
        assert_eq!((&told["total"], &told["found"]), (&Value::Null, &json!(false)));
    }

    #[test]
    fn absurd_figures_are_not_known_rather_than_wrong() {
        let huge = line("1000000", Some("79228162514264337593543950335"), None);
        assert_eq!(huge.amounts, None);
    }
}
