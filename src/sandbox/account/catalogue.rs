//! The demo shop's products: what the conversations are about and what the bot looks up.

/// A product of the demo shop.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Stock-keeping unit.
    pub sku: &'static str,
    /// Name, in Romanian.
    pub name: &'static str,
    /// Words by which a question about it is recognised, in lower case.
    pub words: &'static [&'static str],
    /// Price with VAT, in bani (hundredths of a leu).
    pub price_bani: u32,
    /// Pieces on hand.
    pub stock: u32,
}

/// The demo shop's products.
pub const CATALOGUE: [Product; 14] = [
    product(
        "LAP-X14",
        "Laptop X 14\"",
        &["laptop x", "lap-x14", "product x", "produsul x", "laptop"],
        429_999,
        17,
    ),
    product(
        "LAP-PRO16",
        "Laptop Pro 16\" (32 GB)",
        &["laptop pro", "lap-pro16"],
        899_900,
        3,
    ),
    product(
        "TEL-S9",
        "Telefon Stea 9",
        &["telefon", "phone", "tel-s9", "stea 9"],
        249_999,
        42,
    ),
    product(
        "CAS-BT2",
        "Căști Bluetooth „Liniște”",
        &["căști", "casti", "headphones", "cas-bt2"],
        34_950,
        120,
    ),
    product("MON-27Q", "Monitor 27\" QHD", &["monitor", "mon-27q"], 129_900, 8),
    product(
        "TST-MEC",
        "Tastatură mecanică ȘȚ",
        &["tastatură", "tastatura", "keyboard", "tst-mec"],
        39_900,
        0,
    ),
    product("MOU-ERG", "Mouse ergonomic", &["mouse", "mou-erg"], 15_999, 64),
    product(
        "IMP-LJ",
        "Imprimantă laser",
        &["imprimantă", "imprimanta", "printer", "imp-lj"],
        79_900,
        5,
    ),
    product(
        "SCN-ERG",
        "Scaun ergonomic",
        &["scaun", "chair", "scn-erg"],
        149_900,
        11,
    ),
    product(
        "BIR-140",
        "Birou reglabil 140 cm",
        &["birou", "desk", "bir-140"],
        219_900,
        2,
    ),
    product(
        "CAF-ESP",
        "Espressor Dimineața",
        &["espressor", "cafea", "coffee", "caf-esp"],
        189_900,
        0,
    ),
    product(
        "ROB-ASP",
        "Aspirator robot",
        &["aspirator", "vacuum", "rob-asp"],
        119_999,
        23,
    ),
    product(
        "TAB-11",
        "Tabletă 11\"",
        &["tabletă", "tableta", "tablet", "tab-11"],
        169_900,
        31,
    ),
    product(
        "CAB-USBC",
        "Cablu USB-C 2 m",
        &["cablu", "cable", "cab-usbc"],
        4_990,
        900,
    ),
];

const fn product(
    sku: &'static str,
    name: &'static str,
    words: &'static [&'static str],
    price_bani: u32,
    stock: u32,
) -> Product {
    Product {
        sku,
        name,
        words,
        price_bani,
        stock,
    }
}

impl Product {
    /// The price as people write it: `4.299,99 lei` in Romanian, `4,299.99 RON` in English.
    pub fn price(&self, romanian: bool) -> String {
        let (lei, bani) = (self.price_bani / 100, self.price_bani % 100);
        let (thousands, rest) = (lei / 1000, lei % 1000);
        match (romanian, thousands) {
            (true, 0) => format!("{rest},{bani:02} lei"),
            (true, _) => format!("{thousands}.{rest:03},{bani:02} lei"),
            (false, 0) => format!("{rest}.{bani:02} RON"),
            (false, _) => format!("{thousands},{rest:03}.{bani:02} RON"),
        }
    }

    /// The product a text is about, if any: the one with the longest word in it.
    pub fn asked_for(text: &str) -> Option<&'static Self> {
        let text = text.to_lowercase();
        let length = |product: &Self| {
            product
                .words
                .iter()
                .filter(|word| text.contains(**word))
                .map(|word| word.len())
                .max()
        };
        CATALOGUE
            .iter()
            .filter_map(|product| Some((length(product)?, product)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, product)| product)
    }
}
