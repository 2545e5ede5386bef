//! placeholder
use rust_decimal::Decimal;
use std::ops::Range;
/// A product as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its code.
    pub sku: String,
    /// Its name.
    pub name: String,
}
/// Products.
#[derive(Debug)]
pub struct Catalogue {
    products: Vec<Product>,
}
/// What may be meant.
#[derive(Debug)]
pub struct Mention {
    /// Where.
    pub at: Range<usize>,
    /// The words.
    pub words: String,
    /// The products.
    pub products: Vec<Product>,
    /// How many.
    pub quantity: Option<Decimal>,
}
impl Catalogue {
    /// New.
    pub fn new(products: impl IntoIterator<Item = Product>) -> Self {
        Self {
            products: products.into_iter().collect(),
        }
    }
    /// Mentions.
    pub fn mentions(&self, text: &str) -> Vec<Mention> {
        self.products
            .iter()
            .filter_map(|product| {
                let start = text.find(&product.sku)?;
                let at = start..start + product.sku.len();
                Some(Mention {
                    words: text[at.clone()].to_owned(),
                    at,
                    products: vec![product.clone()],
                    quantity: None,
                })
            })
            .collect()
    }
}
