//! What `/stocks` answers, in any of the forms that are told of it.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::SYSTEM;
use crate::catalogue::{Place, Product};
use crate::error::Error;
use crate::lenient;

const EXPECTED: &str = "a list of stock";

/// What is in one place; a product without a code keeps its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) warehouse: Option<String>,
    pub(super) code: Option<String>,
    pub(super) name: Option<String>,
    uom: Option<String>,
    quantity: Option<Decimal>,
}

impl Line {
    /// The product, if it has a code, in its place.
    pub(super) fn product(self) -> Option<Product> {
        Some(Product {
            code: self.code?,
            name: self.name,
            uom: self.uom,
            places: vec![Place {
                code: self.warehouse.clone(),
                name: self.warehouse,
                quantity: self.quantity,
            }],
            prices: Vec::new(),
        })
    }
}

/// The lines, and the names of all warehouses in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    pub(super) warehouses: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "errorText", default, deserialize_with = "lenient::text")]
    error_text: Option<String>,
    #[serde(default, deserialize_with = "lenient::rows")]
    list: Option<Vec<Row>>,
    #[serde(default, deserialize_with = "lenient::rows")]
    products: Option<Vec<Row>>,
}

/// A warehouse with products, or a product.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    warehouse: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "lenient::text")]
    warehouse_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::rows")]
    products: Option<Vec<Row>>,
    #[serde(default, deserialize_with = "lenient::text")]
    product_code: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    product_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    measuring_unit: Option<String>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    quantity: Option<Decimal>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "warehouseName", default, deserialize_with = "lenient::text")]
    warehouse_name: Option<String>,
}

impl Row {
    fn warehouse(&self) -> Option<String> {
        let nested = self.warehouse.as_deref().and_then(|raw| {
            serde_json::from_str::<Named>(raw.get())
                .map(|named| named.warehouse_name)
                .or_else(|_| serde_json::from_str::<String>(raw.get()).map(Some))
                .ok()
                .flatten()
        });
        nested
            .or_else(|| self.warehouse_name.clone())
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
    }

    fn into_lines(self, outer: Option<&str>, lines: &mut Lines) {
        let warehouse = self.warehouse().or_else(|| outer.map(str::to_owned));
        if let Some(name) = &warehouse
            && !lines.warehouses.contains(name)
        {
            lines.warehouses.push(name.clone());
        }
        match self.products {
            Some(products) => {
                for product in products {
                    product.into_lines(warehouse.as_deref(), lines);
                }
            }
            None if self.product_code.is_none() && self.product_name.is_none() => {}
            None => lines.lines.push(Line {
                warehouse,
                code: self.product_code,
                name: self.product_name,
                uom: self.measuring_unit,
                quantity: self.quantity,
            }),
        }
    }
}

/// Reads an answer to the question for this code, or for everything. Its own words about a failure are passed on only if they
/// cannot hold what was asked.
pub(super) fn read(body: &[u8], code: Option<&str>) -> Result<Lines, Error> {
    let unreadable = |problem: &str| Error::Unreadable {
        system: SYSTEM,
        expected: EXPECTED,
        problem: problem.to_owned(),
    };
    let rows = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Err(unreadable("the answer is empty")),
        Some(b'<') => return Err(unreadable("an HTML or XML page")),
        Some(b'[') => serde_json::from_slice::<Vec<Row>>(body).map_err(|_| unreadable("not the expected JSON"))?,
        Some(_) => {
            let body: Body = serde_json::from_slice(body).map_err(|_| unreadable("not the expected JSON"))?;
            if let Some(text) = body.error_text {
                return Err(refusal(&text, code));
            }
            body.list
                .or(body.products)
                .ok_or_else(|| unreadable("there is no list in it"))?
        }
    };
    let mut lines = Lines::default();
    for row in rows {
        row.into_lines(None, &mut lines);
    }
    Ok(lines)
}

fn refusal(text: &str, code: Option<&str>) -> Error {
    let folded = text.to_lowercase();
    let asked = code.unwrap_or_default().to_lowercase();
    // Words that somebody asked for say nothing.
    let has = |words: &[&str]| words.iter().any(|word| folded.contains(word) && !asked.contains(word));
    let message = if code.is_none() {
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    } else {
        "it answers with an error text".to_owned()
    };
    if has(super::BLOCK.words) {
        Error::RateLimited {
            system: SYSTEM,
            retry_after: Some(super::BLOCK.lasts),
        }
    } else if has(&["autentific", "authenticat", "unauthorized", "token"]) {
        Error::Auth {
            system: SYSTEM,
            message,
            remedy: "username and token",
        }
    } else {
        Error::Rejected {
            system: SYSTEM,
            field: None,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> Vec<(Option<String>, Option<String>, Option<String>)> {
        let lines = read(body.as_bytes(), None).unwrap().lines;
        lines
            .into_iter()
            .map(|line| {
                (
                    line.warehouse,
                    line.code,
                    line.quantity.map(|quantity| quantity.to_string()),
                )
            })
            .collect()
    }

    fn line(
        warehouse: Option<&str>,
        code: &str,
        quantity: Option<&str>,
    ) -> (Option<String>, Option<String>, Option<String>) {
        (
            warehouse.map(str::to_owned),
            Some(code.to_owned()),
            quantity.map(str::to_owned),
        )
    }

    #[test]
    fn every_form_that_is_told_of_is_read() {
        let product = r#"{"productCode": "A", "productName": "Pump", "measuringUnit": "buc", "quantity": 2.5}"#;
        for (body, warehouse) in [
            (
                format!(
                    r#"{{"errorText": "", "list": [{{"warehouse": {{"warehouseName": "Depozit"}}, "products": [{product}]}}]}}"#
                ),
                Some("Depozit"),
            ),
            (
                format!(r#"{{"list": [{{"warehouse": "Depozit", "products": [{product}]}}]}}"#),
                Some("Depozit"),
            ),
            (
                format!(r#"{{"list": [{{"warehouseName": "Depozit", "products": [{product}]}}]}}"#),
                Some("Depozit"),
            ),
            (format!(r#"{{"list": [{product}]}}"#), None),
            (format!(r#"{{"products": [{product}]}}"#), None),
            (format!("[{product}]"), None),
        ] {
            assert_eq!(told(&body), [line(warehouse, "A", Some("2.5"))], "{body}");
        }
    }

    #[test]
    fn odd_values_are_not_known_and_cost_no_other() {
        let body = r#"{"list": [{"warehouse": {"warehouseName": " D "}, "products": [
            {"productCode": 100, "quantity": "7"}, {"productCode": "B", "quantity": null}, {"productCode": "C"}, 7, {}]}]}"#;
        let lines = [
            line(Some("D"), "100", Some("7")),
            line(Some("D"), "B", None),
            line(Some("D"), "C", None),
        ];
        assert_eq!(told(body), lines);
        assert_eq!(told(r#"{"list": null}"#), []);
        assert_eq!(told(r#"{"list": []}"#), []);
    }

    #[test]
    fn what_is_no_answer_is_told_without_quoting_what_was_asked() {
        for body in ["", "<html>", "{}", "7", "{\"list\": 7}", "nonsense"] {
            let error = read(body.as_bytes(), Some("A")).unwrap_err();
            assert!(matches!(error, Error::Unreadable { .. }), "{body}: {error:?}");
        }
        let refused = r#"{"errorText": "Produsul 0722111222 nu exista", "list": null}"#;
        let error = read(refused.as_bytes(), Some("0722111222")).unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }) && !format!("{error:?}").contains("0722"));
        assert!(
            read(refused.as_bytes(), None)
                .unwrap_err()
                .to_string()
                .contains("nu exista")
        );
        let error = read(br#"{"errorText": "Autentificare esuata"}"#, None).unwrap_err();
        assert!(matches!(error, Error::Auth { .. }), "{error:?}");
        let error = read(br#"{"errorText": "Contul este blocat 10 minute"}"#, None).unwrap_err();
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
        let error = read(
            br#"{"errorText": "Produsul Blocat-Token nu exista"}"#,
            Some("blocat-token"),
        )
        .unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    }
}
