//! What is known of Romanian and English: endings, numbers, and words that name no product.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::LONGEST_TYPO;

/// A word without the endings of Romanian and English inflection, and with the sounds undone that they change. Rough,
/// and the same for all forms of most words; what it misses may still be a typo away.
pub(super) fn stem(word: &str) -> String {
    if !word.is_ascii() || word.len() < 4 || word.len() > LONGEST_TYPO {
        return word.to_owned();
    }
    let mut stem = word;
    while let Some(shorter) = ENDINGS
        .iter()
        .find_map(|ending| stem.strip_suffix(ending).filter(|left| left.len() > 2))
    {
        stem = shorter;
    }
    // televizoare: televizor; căști: cască; verzi: verde
    let mut stem = stem.replace("oa", "o");
    if stem.ends_with("sc") {
        stem.replace_range(stem.len() - 1.., "t");
    } else if stem.ends_with('z') {
        stem.replace_range(stem.len() - 1.., "d");
    }
    match stem.as_str() {
        "mes" => "mas".to_owned(),
        "gent" => "geant".to_owned(),
        "neagr" => "negr".to_owned(),
        _ => stem,
    }
}

/// Longest first.
pub(super) const ENDINGS: [&str; 25] = [
    "urilor", "urile", "iilor", "ului", "elor", "ilor", "iile", "iei", "uri", "ele", "ile", "ul", "ei", "ii", "ie",
    "ia", "ea", "ua", "es", "a", "e", "i", "u", "s", "y",
];
pub(super) const ENDINGS_AFTER_DASH: [&str; 8] = ["ul", "ului", "uri", "urile", "urilor", "le", "lor", "lui"];
pub(super) const INCHES: [&str; 6] = ["inch", "inchi", "inci", "inches", "toli", "tol"];
/// Words that tell a product from another of the same name.
pub(super) const VARIANTS: [&str; 9] = ["pro", "plus", "max", "mini", "ultra", "lite", "air", "se", "fe"];
/// Stems of words that say what a thing is like: colours, sizes, how it is sold.
pub(super) const TRAITS: [&str; 47] = [
    "alb",
    "negr",
    "ros",
    "albastr",
    "verd",
    "galben",
    "gri",
    "rod",
    "mov",
    "mar",
    "auri",
    "argint",
    "argin",
    "bej",
    "portocali",
    "white",
    "whit",
    "black",
    "red",
    "blu",
    "green",
    "grey",
    "gray",
    "gre",
    "gra",
    "pink",
    "yellow",
    "brown",
    "silver",
    "gold",
    "mic",
    "med",
    "mare",
    "nou",
    "no",
    "rapid",
    "bun",
    "ieftin",
    "big",
    "small",
    "larg",
    "new",
    "fast",
    "cheap",
    "set",
    "kit",
    "copi",
];

/// What a word of prose is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Filler,
    /// What comes before a SKU.
    Cue,
    Of,
    For,
    And,
    Unit,
    Times,
    Measure,
    Money,
    Number(u8),
}

/// What words of prose are, without diacritics.
pub(super) static CLASSES: LazyLock<HashMap<&'static str, Class>> = LazyLock::new(|| {
    let lists = [
        (Class::Filler, FILLERS),
        (
            Class::Cue,
            "sku cod codul codului code articol articolul art produs produsul produsului product item ref referinta",
        ),
        (Class::Of, "de din of"),
        (Class::For, "pentru pt ptr for la in pe to from spre despre about"),
        (
            Class::And,
            "si sau and or cu with precum dar but iar also respectiv versus vs",
        ),
        (
            Class::Unit,
            "buc bucata bucati bucatile bucatele pcs pc piece pieces unit units unitati cantitate qty quantity",
        ),
        (Class::Times, "x ori"),
        (
            Class::Measure,
            "gb tb mb kg g gr mg ml l cl cm mm m w kw v a ah mah hz mhz ghz mp inch inchi inci inches tol toli",
        ),
        (Class::Money, "lei leu ron eur euro usd dolari dollars"),
    ];
    let words = lists
        .into_iter()
        .flat_map(|(class, list)| list.split_whitespace().map(move |word| (word, class)));
    let mut classes: HashMap<_, _> = words.collect();
    for (count, list) in (1..).zip(NUMBERS) {
        classes.extend(list.split_whitespace().map(|word| (word, Class::Number(count))));
    }
    classes
});

/// The words for one to twenty.
pub(super) const NUMBERS: [&str; 20] = [
    "unu una one",
    "doi doua two",
    "trei three",
    "patru four",
    "cinci five",
    "sase six",
    "sapte seven",
    "opt eight",
    "noua nine",
    "zece ten",
    "unsprezece eleven",
    "doisprezece douasprezece twelve",
    "treisprezece thirteen",
    "paisprezece fourteen",
    "cincisprezece fifteen",
    "saisprezece sixteen",
    "saptesprezece seventeen",
    "optsprezece eighteen",
    "nouasprezece nineteen",
    "douazeci twenty",
];

/// Words that people ask and order with.
pub(super) const FILLERS: &str = "
    buna ziua seara dimineata salut salutare alo hei hey hello hi multumesc mersi va rog te as dori doresc dorim
    dorea vreau vrea vrem vreti voiam vroiam caut cautam cauta comand comanda comandam comandati comandat cumpar
    cumparam cumpara iau luam da dati dam mi imi ne ni ma ai aveti ave avem am are au exista este e sunt mai stoc
    stocul stocuri disponibil disponibila disponibile disponibili cat cati cate cata costa coste pret pretul preturi
    preturile ce care cand unde cum daca sa se poate pot puteti putem trebuie nevoie fost un o niste cel cea cei
    cele acest aceasta acesta aceste acestea asta asa acel al a ale lui lor nu nici doar numai inca azi astazi maine
    acum urgent repede gata ok bine foarte cam merge functioneaza livrare livrati transport trimite trimiteti oferta
    oferte reducere promotie magazin magazinul site online interesat interesata intereseaza stiu stiti spuneti spune
    zi ziceti arata aratati link poza poze detalii informatii info produse produsele articole i v n s l the an is
    was be do does did don you have has had we they it my your our me us want wants need needs would could can will
    shall should please pls thanks thank how much many what which when where who price prices cost costs stock
    available availability any some there here this that these those not no yes buy order get give send looking look
    interested still now today tomorrow asap just only good morning evening by on at so if then than got know tell
    show see guys team";
