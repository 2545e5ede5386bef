//! `do = "extract"`: what a text is about.
//!
//! Gives `found`, `skus`, `items` (each with `sku`, `name` and `quantity`), `quantity` of the first, and `ambiguous`: words that mean one
//! of several products, with these as `choices`. What is ambiguous is asked about, never guessed.

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Failure, Reading};
use crate::automation::mentions::Mention;
use crate::automation::template::Template;
use crate::automation::tools::Tools;

/// A pattern's automaton may take so much memory.
const LARGEST: usize = 1 << 20;
/// So much of a text is looked at, in bytes.
const LONGEST: usize = 16 * 1024;
/// A pattern may match so often.
const MOST: usize = 50;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Extract {
    pub(super) from: Template,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Pattern(Regex),
    Catalogue(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The text; the message, if it does not say.
    from: Option<Value>,
    /// A regular expression; its groups are named in the output.
    pattern: Option<String>,
    /// The connector whose products are looked for.
    catalogue: Option<String>,
}

pub(super) fn read(own: &std::collections::BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Extract> {
    let keys: Keys = reading.keys(own)?;
    let from = keys.from.unwrap_or_else(|| json!("{{ message.content }}"));
    let from = reading.template(&["from"], &from);
    let way = match (keys.pattern, keys.catalogue) {
        (Some(pattern), None) => match regex::RegexBuilder::new(&pattern).size_limit(LARGEST).build() {
            Ok(pattern) => Way::Pattern(pattern),
            Err(error) => {
                reading.wrong(&["pattern"], format!("not a regular expression: {error}"), "");
                return None;
            }
        },
        (None, Some(connector)) => {
            let knows = |connector: &dyn allai_connectors::Connector| {
                let can = connector.capabilities();
                can.catalogue && can.stock && connector.erp().is_some()
            };
            reading.connector("catalogue", &connector, "cannot list its products", knows);
            Way::Catalogue(connector)
        }
        _ => {
            reading.wrong(
                &["pattern"],
                "it is not said what to look for",
                "add either pattern = \"…\" or catalogue = \"CONNECTOR\"",
            );
            return None;
        }
    };
    Some(Extract { from, way })
}

impl Extract {
    pub(super) async fn perform(&self, input: &Value, tools: &Tools) -> Result<Value, Failure> {
        let mut text = input.as_str().unwrap_or_default();
        if text.len() > LONGEST {
            text = &text[..text.floor_char_boundary(LONGEST)];
        }
        Ok(match &self.way {
            Way::Pattern(pattern) => matched(pattern, text),
            Way::Catalogue(connector) => told(&tools.catalogue(connector).await?.mentions(text)),
        })
    }
}

fn matched(pattern: &Regex, text: &str) -> Value {
    let mut items = Vec::new();
    let mut skus: Vec<String> = Vec::new();
    for captures in pattern.captures_iter(text).take(MOST) {
        let mut item = Map::new();
        item.insert("text".to_owned(), captures[0].into());
        for name in pattern.capture_names().flatten() {
            let group = captures.name(name).map(|found| found.as_str());
            item.insert(name.to_owned(), group.into());
        }
        let sku = captures.name("sku").map_or(&captures[0], |found| found.as_str());
        if !skus.iter().any(|known| known == sku) {
            skus.push(sku.to_owned());
        }
        items.push(Value::Object(item));
    }
    let quantity = items.first().map_or(Value::Null, |item| item["quantity"].clone());
    json!({"found": !items.is_empty(), "skus": skus, "items": items, "quantity": quantity, "ambiguous": []})
}

fn told(mentions: &[Mention<'_>]) -> Value {
    let (mut items, mut skus, mut ambiguous) = (Vec::new(), Vec::<String>::new(), Vec::new());
    for mention in mentions {
        let quantity = mention.quantity.map(|quantity| quantity.normalize().to_string());
        if let [product] = mention.products.as_slice() {
            if !skus.contains(&product.sku) {
                skus.push(product.sku.clone());
                items.push(json!({"sku": product.sku, "name": product.name, "quantity": quantity}));
            }
        } else {
            let choices = mention.products.iter();
            let choices: Vec<Value> = choices
                .map(|product| json!({"sku": product.sku, "name": product.name}))
                .collect();
            ambiguous.push(json!({"words": mention.words, "choices": choices, "quantity": quantity}));
        }
    }
    let quantity = items
        .first()
        .map_or(Value::Null, |item: &Value| item["quantity"].clone());
    json!({"found": !items.is_empty(), "skus": skus, "items": items, "quantity": quantity, "ambiguous": ambiguous})
}
