//! What rules read and write, without the rest of them: for fuzzing.

use serde_json::{Value, json};

use super::mentions::{Catalogue, Mention, Product};
use super::template::{Template, environment};

/// What of these products, each a SKU and a name, a text is about: an object for each mention, with `words`, where they are (`from`,
/// `to`, in bytes), the `skus` that they may mean, and a `quantity` if there is one.
#[doc(hidden)]
pub fn found_in<'a>(products: impl IntoIterator<Item = (&'a str, &'a str)>, text: &str) -> Vec<Value> {
    let product = |(sku, name): (&str, &str)| Product {
        sku: sku.to_owned(),
        name: name.to_owned(),
    };
    let catalogue = Catalogue::new(products.into_iter().map(product));
    let told = |mention: &Mention<'_>| {
        let skus: Vec<&str> = mention.products.iter().map(|product| product.sku.as_str()).collect();
        json!({
            "words": mention.words, "from": mention.at.start, "to": mention.at.end, "skus": skus,
            "quantity": mention.quantity.map(|quantity| quantity.to_string()),
        })
    };
    catalogue.mentions(text).iter().map(told).collect()
}

/// What a template makes of what is known; `Err` if it is none, or cannot be rendered.
#[doc(hidden)]
pub fn written(template: &str, known: &Value) -> Result<Value, String> {
    let environment = environment();
    let template = Template::new(&environment, &template.into()).map_err(|(_, problem)| problem)?;
    template
        .render(&environment, "text", known)
        .map_err(|error| error.to_string())
}
