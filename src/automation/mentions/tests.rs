//! What is found in texts, and what is not.

use rust_decimal::Decimal;

use super::lexicon::stem;
use super::tokens::tokens;
use super::{Catalogue, MOST_CANDIDATES, Product};

const SHOP: [(&str, &str); 18] = [
    ("PH-1000", "Căști Philips Tune"),
    ("LP-3", "Laptop Lenovo IdeaPad 3"),
    ("LP-5", "Laptop Lenovo IdeaPad 5"),
    ("LP-HP", "Laptop HP Pavilion"),
    ("MS-1", "Mouse Logitech Pebble"),
    ("MS-2", "Mouse Asus wireless"),
    ("IP15", "iPhone 15"),
    ("IP15P", "iPhone 15 Pro"),
    ("GA-54", "Samsung Galaxy A54 128 GB negru"),
    ("TV-1", "Televizor Horizon"),
    ("TS-1", "Tastatură mecanică Redragon"),
    ("IN-1", "Încărcător rapid Baseus"),
    ("MA-1", "Mașină de tocat Bosch"),
    ("SC-1", "Scaun ergonomic birou"),
    ("PB-1", "Power Bank Xiaomi"),
    ("12", "Umbrelă pliabilă"),
    ("48213", "Rucsac Targus"),
    ("HS-1", "Husă Spigen"),
];

fn catalogue(products: &[(&str, &str)]) -> Catalogue {
    let product = |(sku, name): &(&str, &str)| Product {
        sku: (*sku).to_owned(),
        name: (*name).to_owned(),
    };
    Catalogue::new(products.iter().map(product))
}

/// What is found, each as "SKU|SKU" with " x quantity".
fn found_in(products: &[(&str, &str)], text: &str) -> Vec<String> {
    let catalogue = catalogue(products);
    let mentions = catalogue.mentions(text);
    let told = mentions.iter().map(|mention| {
        assert_eq!(mention.words, text[mention.at.clone()]);
        let skus: Vec<&str> = mention.products.iter().map(|product| product.sku.as_str()).collect();
        let quantity = mention
            .quantity
            .map(|quantity| format!(" x {quantity}"))
            .unwrap_or_default();
        format!("{}{quantity}", skus.join("|"))
    });
    told.collect()
}

#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, expected)| {
            let found = found_in(&SHOP, text);
            (found != *expected).then(|| format!("{text}: {found:?}, expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_sku_is_read_however_it_is_written() {
    check(&[
        ("Aveți PH-1000 pe stoc?", &["PH-1000"]),
        ("ph 1000", &["PH-1000"]),
        ("is PH1000 available", &["PH-1000"]),
        ("Ph_1000, vă rog", &["PH-1000"]),
        ("(ph.1000)", &["PH-1000"]),
        ("ph/1000", &["PH-1000"]),
        ("PH\u{2013}1000!", &["PH-1000"]),
        ("P\u{200d}H-10\u{200b}00", &["PH-1000"]),
        ("cod:PH-1000.", &["PH-1000"]),
        ("cât costă PH-1000-ul?", &["PH-1000"]),
        ("PH-1000/GA-54", &["PH-1000", "GA-54"]),
        ("Vreau PH-1000.Aveți?", &["PH-1000"]),
    ]);
}

#[test]
fn a_sku_is_not_found_inside_another_code() {
    check(&[
        ("PH-10001", &[]),
        ("XPH-1000", &[]),
        ("X-PH-1000", &[]),
        ("PH-1000B", &[]),
        ("PH-1000-B", &[]),
        ("PH-10-00", &[]),
        ("PH-1000.5", &[]),
    ]);
}

#[test]
fn a_short_number_is_a_sku_only_after_a_word_like_code() {
    check(&[
        ("vreau 12", &[]),
        ("cod 12", &["12"]),
        ("the product 12", &["12"]),
        ("articolul: 12", &["12"]),
        ("aveți 48213?", &["48213"]),
        ("costă 48213 lei", &[]),
        ("sunați la 0722 48213", &[]),
        ("48213 bucăți", &[]),
    ]);
    let shop = [("LA-2", "Lampă"), ("ALB", "Bec")];
    assert_eq!(found_in(&shop, "vin la 2 fără"), [""; 0]);
    assert_eq!(found_in(&shop, "la-2"), ["LA-2"]);
}

#[test]
fn skus_that_are_read_alike_are_ambiguous_unless_one_is_written_exactly() {
    let shop = [("AB-1", "Cană"), ("AB1", "Farfurie")];
    assert_eq!(found_in(&shop, "ab 1"), ["AB-1|AB1"]);
    assert_eq!(found_in(&shop, "ab-1"), ["AB-1"]);
    assert_eq!(found_in(&shop, "ab1"), ["AB1"]);
    assert_eq!(found_in(&shop, "cana AB 1"), ["AB-1"]);
}

#[test]
fn a_sku_wins_over_a_name() {
    let shop = [("A54", "Cablu"), ("X-9", "Samsung A54")];
    assert_eq!(found_in(&shop, "a54"), ["A54"]);
    check(&[
        ("căști Philips PH-1000", &["PH-1000"]),
        ("PH-1000 Căști Philips Tune", &["PH-1000"]),
    ]);
}

#[test]
fn a_name_is_read_in_any_case_and_with_any_diacritics() {
    check(&[
        ("TASTATURA MECANICA", &["TS-1"]),
        ("tastatura\u{306} mecanica\u{306}", &["TS-1"]),
        ("ca\u{15f}ti philips", &["PH-1000"]),
        ("ca\u{219}ti philips", &["PH-1000"]),
        ("cas\u{327}t\u{327}i philips", &["PH-1000"]),
        ("do you have the MOUSE LOGITECH", &["MS-1"]),
    ]);
}

#[test]
fn a_name_is_read_in_any_inflection() {
    check(&[
        ("televizorul", &["TV-1"]),
        ("cât costă televizoarele?", &["TV-1"]),
        ("prețul televizorului", &["TV-1"]),
        ("televizoarelor", &["TV-1"]),
        ("cască philips", &["PH-1000"]),
        ("căștile Philips", &["PH-1000"]),
        ("încărcătoare", &["IN-1"]),
        ("mașini de tocat", &["MA-1"]),
        ("mașinile", &["MA-1"]),
        ("scaunele ergonomice", &["SC-1"]),
        ("rucsacuri", &["48213"]),
        ("rucsac-ul", &["48213"]),
        ("tastaturilor mecanice", &["TS-1"]),
        ("umbrelele", &["12"]),
        ("husele", &["HS-1"]),
        ("laptopuri hp", &["LP-HP"]),
        ("laptops hp", &["LP-HP"]),
        ("wireless mouses", &["MS-2"]),
    ]);
    let forms = [
        ["masă", "mese"],
        ["geantă", "genți"],
        ["baterie", "bateriilor"],
        ["birou", "birouri"],
        ["fotoliu", "fotolii"],
        ["cafea", "cafele"],
        ["lampă", "lămpilor"],
        ["floare", "flori"],
        ["verde", "verzi"],
        ["battery", "batteries"],
        ["box", "boxes"],
    ];
    let key = |form: &str| stem(&tokens(form)[0].word);
    for [one, other] in forms {
        assert_eq!(key(one), key(other), "{one}, {other}");
        assert_eq!(key(&key(one)), key(one), "{one}");
    }
}

#[test]
fn a_long_word_may_have_typos() {
    check(&[
        ("televizr", &["TV-1"]),
        ("televvizor", &["TV-1"]),
        ("televizpr", &["TV-1"]),
        ("teelvizor", &["TV-1"]),
        ("teelvizpr", &["TV-1"]),
        ("teelvzpra", &[]),
        ("mouse logitehc", &["MS-1"]),
        ("do you have a mosue logitech", &["MS-1"]),
        ("latop hp", &["LP-HP"]),
        ("moose", &["MS-1|MS-2"]),
        ("huza", &[]),
        ("scaum", &["SC-1"]),
        ("samsung a55", &[]),
    ]);
}

#[test]
fn words_come_in_any_order_among_words_that_say_nothing() {
    check(&[
        ("lenovo laptop ideapad 3", &["LP-3"]),
        ("vreau un laptop de la Lenovo, IdeaPad 5", &["LP-5"]),
        ("Bună ziua, aveți pe stoc tastatura Redragon și cât costă?", &["TS-1"]),
        ("what is the price of the galaxy a 54 from samsung", &["GA-54"]),
        ("black galaxy a54", &[]),
        ("galaxy negru", &["GA-54"]),
        ("negru galaxy 128gb", &["GA-54"]),
        ("powerbank", &["PB-1"]),
        ("power bank-uri", &["PB-1"]),
        ("the Samsung phone A54", &["GA-54"]),
        ("iphone de 15", &["IP15"]),
        ("salut, ce mai faceți?", &[]),
    ]);
}

#[test]
fn products_that_fit_equally_are_one_ambiguous_mention() {
    check(&[
        ("aveți laptopuri?", &["LP-HP|LP-3|LP-5"]),
        ("laptop lenovo", &["LP-3|LP-5"]),
        ("I need a mouse", &["MS-1|MS-2"]),
        ("iphone", &["IP15|IP15P"]),
        ("iphone 15", &["IP15"]),
        ("iphone15 pro", &["IP15P"]),
    ]);
    let names: Vec<String> = (0..8).map(|at| format!("Covor persan {at}")).collect();
    let shop: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let others = ["Bec", "Priză", "Lustră"].map(|name| (name, name));
    let many: Vec<_> = shop[..5].iter().chain(&others).copied().collect();
    assert_eq!(found_in(&many, "covoare")[0].split('|').count(), 5);
    let common: Vec<_> = shop.iter().chain(&others).copied().collect();
    assert_eq!(found_in(&common, "covor persan"), [""; 0]);
    assert_eq!(found_in(&common, "covor persan 7"), ["Covor persan 7"]);
}

#[test]
fn what_fits_badly_is_not_guessed() {
    check(&[
        ("iphone 14", &["IP15|IP15P"]),
        ("galaxy a34", &[]),
        ("samsung galaxy 256 gb", &[]),
        ("televizor panasonic", &[]),
        ("husă pentru iphone", &["HS-1"]),
        ("ceva rapid", &[]),
        ("ceva negru", &[]),
        ("laptop asus", &["LP-HP|MS-2|LP-3|LP-5"]),
        ("mouse logitech pro", &["MS-1|IP15P"]),
    ]);
    assert_eq!(found_in(&[("IP15", "iPhone 15")], "aveți iphone 14?"), [""; 0]);
    assert_eq!(found_in(&[("IP15", "iPhone 15")], "aveți iphone 15 plus?"), [""; 0]);
    assert_eq!(found_in(&[("IP15", "iPhone 15 alb")], "iPhone 15 negru"), [""; 0]);
}

#[test]
fn several_products_are_several_mentions() {
    check(&[
        ("vreau laptop hp și mouse logitech", &["LP-HP", "MS-1"]),
        ("laptop hp, tastatură, PH-1000", &["LP-HP", "TS-1", "PH-1000"]),
        ("a power bank and the iphone 15 pro", &["PB-1", "IP15P"]),
        ("iphone 15 iphone 15 pro", &["IP15", "IP15P"]),
        ("laptop hp mouse asus", &["LP-HP", "MS-2"]),
        ("televizor\numbrelă", &["TV-1", "12"]),
        ("Aveți televizor? Dar scaun?", &["TV-1", "SC-1"]),
        ("2 televizoare, 3 scaune", &["TV-1 x 2", "SC-1 x 3"]),
    ]);
}

#[test]
fn quantities_are_read_before_and_after() {
    check(&[
        ("vreau 10 PH-1000", &["PH-1000 x 10"]),
        ("PH-1000 x 4", &["PH-1000 x 4"]),
        ("PH-1000 ×4", &["PH-1000 x 4"]),
        ("2×PH-1000", &["PH-1000 x 2"]),
        ("2 x PH-1000 și 3 x GA-54", &["PH-1000 x 2", "GA-54 x 3"]),
        ("PH-1000 2 buc GA-54 3 buc", &["PH-1000 x 2", "GA-54 x 3"]),
        ("PH-1000, 2 buc GA-54", &["PH-1000", "GA-54 x 2"]),
        ("PH-1000: 2 bucăți", &["PH-1000 x 2"]),
        ("PH-1000, cantitate: 5", &["PH-1000 x 5"]),
        ("cinci bucati de televizor", &["TV-1 x 5"]),
        ("trei televizoare", &["TV-1 x 3"]),
        ("douăsprezece scaune", &["SC-1 x 12"]),
        ("three pieces of the iphone 15", &["IP15"]),
        ("twenty iphone 15", &["IP15 x 20"]),
        ("3 pcs iphone 15", &["IP15 x 3"]),
        ("iphone 15 x 2", &["IP15 x 2"]),
        ("iphone 15 2 buc", &["IP15 x 2"]),
        ("televizor de 3 ori", &["TV-1 x 3"]),
        ("1.000 bucăți PH-1000", &["PH-1000 x 1000"]),
        ("2,5 PH-1000", &["PH-1000 x 2.5"]),
        ("1.234,5 x PH-1000", &["PH-1000 x 1234.5"]),
        ("3buc PH-1000", &["PH-1000 x 3"]),
        ("noua tastatură mecanică", &["TS-1"]),
        ("nouă bucăți tastatură mecanică", &["TS-1 x 9"]),
        ("un televizor", &["TV-1"]),
    ]);
}

#[test]
fn what_is_no_quantity_is_not_read_as_one() {
    check(&[
        ("iphone 15", &["IP15"]),
        ("0 PH-1000", &["PH-1000"]),
        ("-5 PH-1000", &["PH-1000"]),
        ("2.000.000 PH-1000", &["PH-1000"]),
        ("99999999999999999999999999999999999 x PH-1000", &["PH-1000"]),
        ("2-3 bucăți PH-1000", &["PH-1000"]),
        ("12.05.2024 PH-1000", &["PH-1000"]),
        ("PH-1000 300 lei", &["PH-1000"]),
        ("50% PH-1000", &["PH-1000"]),
        ("am 2 copii și vreau PH-1000", &["PH-1000"]),
    ]);
    let shop = [("B4", "Baterii AA 4 buc"), ("B8", "Baterii AA 8 buc")];
    assert_eq!(found_in(&shop, "baterii AA 4 buc"), ["B4"]);
    assert_eq!(found_in(&[("S", "5 Star Hotel")], "5 star hotel"), ["S"]);
}

#[test]
fn hostile_text_is_only_text() {
    check(&[
        ("", &[]),
        ("{{ PH-1000 }}", &["PH-1000"]),
        ("' OR 1=1; DROP TABLE", &[]),
        ("\u{202e}PH-1000\u{202c}", &["PH-1000"]),
        ("🎧PH-1000🎧", &["PH-1000"]),
        ("tele\u{200d}vizor", &["TV-1"]),
        ("\u{301}\u{301}", &[]),
        ("ＰＨ－１０００ ＰＨ１０００", &["PH-1000", "PH-1000"]),
    ]);
    assert!(catalogue(&[]).mentions("PH-1000 x 4 laptop").is_empty());
    assert!(
        catalogue(&[("", ""), ("-", "de la"), (" ", "!")])
            .mentions("x de la - !")
            .is_empty()
    );
}

#[test]
fn names_are_read_as_people_shorten_them() {
    let shop = [
        ("L3", "Laptop Lenovo IdeaPad 3 15.6 inch 8GB RAM 512GB SSD"),
        ("LV", "Laptop Asus VivoBook 15 16GB RAM"),
        ("CU", "Cablu USB-C 2m"),
        ("CH", "Cablu HDMI 2m"),
        ("WH", "Căști wireless Sony WH-1000XM4"),
        ("RW", "Router Wi-Fi"),
        ("P6", "Set 6 pahare"),
    ];
    let cases: [(&str, &[&str]); 16] = [
        ("vivobook", &["LV"]),
        ("laptop cu 16 gb ram", &["LV"]),
        ("laptop lenovo 15.6\"", &["L3"]),
        ("laptop lenovo 15,6 inch", &["L3"]),
        ("laptop lenovo 16gb", &["L3|LV"]),
        ("how much is the ideapad and the vivobook?", &["L3", "LV"]),
        ("https://shop.ro/laptop-lenovo-ideapad-3", &["L3"]),
        ("cablu usbc", &["CU"]),
        ("2 cabluri usb c de 2 m", &["CU x 2"]),
        ("cablu hdmi 3m", &[]),
        ("five Sony headphones wh 1000 xm4", &["WH x 5"]),
        ("casti WH1000XM4", &["WH"]),
        ("casti WH1000XM5", &[]),
        ("router wifi", &["RW"]),
        ("wi fi", &["RW"]),
        ("2 seturi de 6 pahare", &["P6 x 2"]),
    ];
    for (text, expected) in cases {
        assert_eq!(found_in(&shop, text), expected, "{text}");
    }
}

#[test]
fn any_text_has_valid_mentions() {
    const PIECES: [&str; 40] = [
        "PH",
        "-",
        "1000",
        " ",
        "laptop",
        "Lenovo",
        "ș",
        "ş",
        "s\u{327}",
        "\u{200d}",
        "\u{202e}",
        "🎧",
        "{{",
        "}}",
        "' OR 1=1",
        "\n",
        ".",
        ",",
        "x",
        "×",
        "4",
        "1.000",
        "bucăți",
        "trei",
        "și",
        "pentru",
        "de",
        "iphone",
        "15",
        "mouse",
        "asus",
        "İ",
        "ß",
        "ﬁ",
        "अि",
        "한",
        "½",
        "\u{301}",
        "televizpr",
        "/",
    ];
    let catalogue = catalogue(&SHOP);
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut count = 0;
    for _ in 0..2_000 {
        let mut text = String::new();
        for _ in 0..random(60) {
            match random(4) {
                0 => text.extend(char::from_u32(u32::try_from(random(0x11_0000)).unwrap())),
                1 => text.push(' '),
                _ => text.push_str(PIECES[random(PIECES.len())]),
            }
        }
        let mut end = 0;
        for mention in catalogue.mentions(&text) {
            assert!(mention.at.start >= end && mention.at.start < mention.at.end, "{text:?}");
            assert_eq!(text.get(mention.at.clone()), Some(mention.words.as_str()));
            assert!((1..=MOST_CANDIDATES).contains(&mention.products.len()));
            let is_valid = |quantity| quantity > Decimal::ZERO && quantity <= Decimal::from(1_000_000);
            assert!(mention.quantity.is_none_or(is_valid));
            end = mention.at.end;
            count += 1;
        }
    }
    assert!(count > 1_000, "{count}");
}
