//! What visitors write, read for products and put into answers.

use allai_sync::automation::{found_in, written};
use serde_json::json;

/// So many products one mention tells at most.
const MOST_CANDIDATES: usize = 5;
/// How many may be spoken of.
const MOST: f64 = 1e6;

/// The input's first line is a template, its second a product's SKU, its third the product's name, and the rest what a visitor writes.
pub(crate) fn hold(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let mut lines = input.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (template, sku, name, said) = (next(), next(), next(), next());

    let products = [
        (sku, name),
        ("PH-1000", "Pompă de căldură Ariston"),
        ("PH-2000", "Pompă de căldură Daikin"),
        ("A/B 1", "Husă pentru telefon"),
    ];
    let found = found_in(products, said);
    for mention in &found {
        let place = |name: &str| mention[name].as_u64().and_then(|at| usize::try_from(at).ok());
        let at = place("from").expect("a place")..place("to").expect("a place");
        assert_eq!(said.get(at), mention["words"].as_str());
        let skus = mention["skus"].as_array().expect("a list");
        assert!(!skus.is_empty() && skus.len() <= MOST_CANDIDATES);
        assert!(skus.iter().all(|found| products.iter().any(|(sku, _)| found == sku)));
        if let Some(quantity) = mention["quantity"].as_str() {
            let quantity: f64 = quantity.parse().expect("a number");
            assert!(quantity > 0.0 && quantity <= MOST);
        }
    }
    assert_eq!(found_in(products, said), found);

    // What a visitor writes is never a template.
    let known = json!({"message": {"content": said}, "name": name});
    assert_eq!(
        written("{{ name }}: {{ message.content }}.", &known),
        Ok(json!(format!("{name}: {said}.")))
    );
    assert_eq!(written("{{ message.content }}", &known), Ok(json!(said)));
    // And a template, whatever it is, ends.
    let _ = written(template, &known);
}
