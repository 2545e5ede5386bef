//! What nomenclatures answer.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{OblioConfig, SYSTEM};
use crate::catalogue::{ListPrice, Place, Product};
use crate::error::Error;
use crate::http::Answer;
use crate::lenient;

#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Body<T> {
    #[serde(default, deserialize_with = "lenient::text")]
    status: Option<String>,
    #[serde(rename = "statusMessage", default, deserialize_with = "lenient::text")]
    status_message: Option<String>,
    #[serde(default, deserialize_with = "lenient::rows")]
    data: Option<Vec<T>>,
}

/// A company that the account may see.
#[derive(Debug, Deserialize)]
pub(super) struct CompanyRow {
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) cif: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) company: Option<String>,
}

/// A warehouse.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManagementRow {
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) management: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) work_station: Option<String>,
}

/// A product or service.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProductRow {
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) code: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    measuring_unit: Option<String>,
    #[serde(default, deserialize_with = "lenient::rows")]
    stock: Option<Vec<StockRow>>,
    #[serde(default, deserialize_with = "lenient::text")]
    work_station: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    management: Option<String>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    quantity: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    price: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient::text")]
    currency: Option<String>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    vat_percentage: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient::flag")]
    vat_included: Option<bool>,
}

/// A product in one warehouse.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StockRow {
    #[serde(default, deserialize_with = "lenient::text")]
    work_station: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    management: Option<String>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    quantity: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    price: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient::text")]
    currency: Option<String>,
    #[serde(default, deserialize_with = "lenient::decimal")]
    vat_percentage: Option<Decimal>,
    #[serde(default, deserialize_with = "lenient::flag")]
    vat_included: Option<bool>,
}

impl ProductRow {
    /// The product, if it has a code, with what of it counts.
    pub(super) fn product(self, config: &OblioConfig) -> Option<Product> {
        let code = self.code?;
        let itself = StockRow {
            work_station: self.work_station,
            management: self.management,
            quantity: self.quantity,
            price: self.price,
            currency: self.currency,
            vat_percentage: self.vat_percentage,
            vat_included: self.vat_included,
        };
        let (mut places, mut prices) = (Vec::new(), Vec::new());
        for row in self.stock.into_iter().flatten() {
            if !config.counts(row.work_station.as_deref(), row.management.as_deref()) {
                continue;
            }
            let (place, price) = row.told();
            places.push(place);
            prices.extend(price);
        }
        // A service, or goods that are listed as one. Its price is everybody's; whose its quantity is, only it says.
        let counts = config.counts(itself.work_station.as_deref(), itself.management.as_deref());
        let (place, price) = itself.told();
        if places.is_empty() {
            if counts && place.quantity.is_some() {
                places.push(place);
            }
            prices.extend(price);
        }
        Some(Product {
            code,
            name: self.name,
            uom: self.measuring_unit,
            places,
            prices,
        })
    }
}

impl StockRow {
    fn told(self) -> (Place, Option<ListPrice>) {
        let name = match (&self.management, &self.work_station) {
            (Some(management), Some(station)) => Some(format!("{management} ({station})")),
            (management, _) => management.clone(),
        };
        let currency = self.currency.map(|currency| currency.to_uppercase());
        (
            Place {
                code: self.management,
                name,
                quantity: self.quantity,
            },
            ListPrice::new(self.price, self.vat_percentage, self.vat_included, currency),
        )
    }
}

/// Reads the rows of an answer. Its own words about a failure are passed on only if it may `quote` them: they may hold what was
/// asked.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer, expected: &'static str, quote: bool) -> Result<Vec<T>, Error> {
    let unreadable = |problem: String| Error::Unreadable {
        system: SYSTEM,
        expected,
        problem,
    };
    let body: Body<T> = answer.json().map_err(unreadable)?;
    if let Some(status) = body.status.filter(|status| status != "200") {
        let message = body
            .status_message
            .filter(|_| quote)
            .unwrap_or_else(|| format!("status {status}"));
        let message = message.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(match status.as_str() {
            "401" => Error::Auth {
                system: SYSTEM,
                message,
                remedy: "client_id and client_secret",
            },
            "429" => Error::RateLimited {
                system: SYSTEM,
                retry_after: Some(super::BLOCK.lasts),
            },
            _ => Error::Rejected {
                system: SYSTEM,
                field: None,
                message,
            },
        });
    }
    body.data.ok_or_else(|| unreadable("there is no data in it".to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn config(keys: &serde_json::Value) -> OblioConfig {
        let mut config = json!({"client_id": "a@firma.ro", "client_secret": "s", "cif": "RO12345678"});
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        serde_json::from_value(config).unwrap()
    }

    fn rows(body: &str) -> Result<Vec<ProductRow>, Error> {
        let answer = Answer {
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        read(&answer, "a list of products", false)
    }

    fn product(row: &str, keys: &serde_json::Value) -> Product {
        let body = format!("{{\"status\": 200, \"statusMessage\": \"Success\", \"data\": [{row}]}}");
        rows(&body).unwrap().remove(0).product(&config(keys)).unwrap()
    }

    const DESK: &str = r#"{"name": "Birou", "code": "B-1", "description": "", "measuringUnit": "buc", "productType": "Marfa",
        "stock": [
            {"workStation": "Sediu", "management": "Magazin", "quantity": 2, "price": "200.00", "currency": "RON",
             "vatName": "Normala", "vatPercentage": 19, "vatIncluded": false},
            {"workStation": "Depozit", "management": "Mobila", "quantity": "1.5", "price": 210, "currency": "RON",
             "vatName": "Normala", "vatPercentage": "19", "vatIncluded": 0}]}"#;

    #[test]
    fn goods_are_in_places_and_have_a_price_in_each() {
        let desk = product(DESK, &json!({}));
        let places: Vec<_> = desk
            .places
            .iter()
            .map(|place| (place.code.as_deref(), place.name.as_deref(), place.quantity))
            .collect();
        assert_eq!(
            places,
            [
                (Some("Magazin"), Some("Magazin (Sediu)"), Some(Decimal::TWO)),
                (Some("Mobila"), Some("Mobila (Depozit)"), Some(Decimal::new(15, 1))),
            ]
        );
        assert_eq!(desk.prices.len(), 2);
        assert_eq!(desk.prices[0].gross, Some(Decimal::new(238, 0)));
        let only = product(DESK, &json!({"management": "Mobila"}));
        assert_eq!((only.places.len(), only.prices.len()), (1, 1));
        let nowhere = product(DESK, &json!({"management": "Altundeva"}));
        assert!(nowhere.places.is_empty() && nowhere.prices.is_empty());
    }

    #[test]
    fn a_service_has_a_price_and_no_stock() {
        let row = r#"{"name": "Montare", "code": "M-1", "measuringUnit": "buc", "productType": "Serviciu", "price": "119.00",
            "currency": "ron", "vatName": "Normala", "vatPercentage": 19, "vatIncluded": true}"#;
        let service = product(row, &json!({"management": "Magazin"}));
        assert!(service.places.is_empty());
        assert_eq!(service.prices[0].net, Some(Decimal::new(100, 0)));
        assert_eq!(service.prices[0].currency.as_deref(), Some("RON"));
    }

    #[test]
    fn failures_inside_a_success_are_failures() {
        let auth = rows(r#"{"status": 401, "statusMessage": "Token invalid"}"#);
        assert!(matches!(auth, Err(Error::Auth { .. })), "{auth:?}");
        let refused = rows(r#"{"status": "400", "statusMessage": "Produsul 0722111222 nu exista"}"#).unwrap_err();
        assert!(matches!(refused, Error::Rejected { .. }) && !format!("{refused:?}").contains("0722"));
        for body in ["", "<html>", "[]", "{}", r#"{"status": 200, "data": 7}"#] {
            assert!(matches!(rows(body), Err(Error::Unreadable { .. })), "{body}");
        }
        assert_eq!(rows(r#"{"status": 200, "data": null}"#).unwrap(), []);
    }
}
