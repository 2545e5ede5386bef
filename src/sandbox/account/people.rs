//! Names, companies and where visitors come from.

pub(super) const GIVEN: [&str; 40] = [
    "Andrei",
    "Ioana",
    "Ștefan",
    "Maria",
    "Țurcanu-Ana",
    "Mihai",
    "Elena",
    "Răzvan",
    "Cătălina",
    "Ion",
    "Gabriela",
    "Sorin",
    "Mădălina",
    "Bogdan",
    "Crăița",
    "Ilinca",
    "George",
    "Zoltán",
    "Éva",
    "Paul",
    "Oliver",
    "Emma",
    "Jack",
    "Amelia",
    "Noah",
    "Siobhán",
    "Liam",
    "Grace",
    "Zoë",
    "François",
    "Jürgen",
    "Anaïs",
    "Ana-Maria",
    "Constantin",
    "Dănuț",
    "Ecaterina",
    "Horațiu",
    "Ligia",
    "Nicoleta",
    "Tudor",
];

pub(super) const FAMILY: [&str; 40] = [
    "Popescu",
    "Ionescu",
    "Țăndăreanu",
    "Șerban",
    "Dumitrașcu",
    "Stănescu",
    "Rădulescu",
    "Mureșan",
    "Călinescu",
    "Bălan",
    "Văcărescu",
    "Pîrvu",
    "Nițu",
    "Moldovan",
    "Câmpeanu",
    "Szabó",
    "Kovács",
    "O'Brien",
    "D'Angelo",
    "Smith",
    "Taylor",
    "MacDonald",
    "Müller",
    "Lefèvre",
    "van der Berg",
    "Pop",
    "Ene",
    "Ursu",
    "Iliescu",
    "Barbu",
    "Cîrstea",
    "Dobre",
    "Enăchescu",
    "Filip",
    "Grigoraș",
    "Hașdeu",
    "Lupu",
    "Manea",
    "Neagu",
    "Oprea",
];

pub(super) const COMPANIES: [&str; 16] = [
    "Brutăria \"La Țărani\" SRL",
    "Construct Nord-Vest SA",
    "Șapte Coline Studio",
    "Café d'Azur",
    "Autoservice Răcădău",
    "Farmacia Sfântul Ștefan",
    "Smith & Sons Ltd",
    "Pixel <Labs>",
    "Transilvania Logistics",
    "Grădinița Piticot 🌱",
    "Mobila\\Plus SRL",
    "Vinuri din Dealu Mare",
    "Librăria Cărturești Vechi",
    "Hotel Bâlea",
    "Agro Bărăgan SRL",
    "Dentalis Clinic",
];

pub(super) const INDUSTRIES: [&str; 8] = [
    "retail",
    "construcții",
    "HoReCa",
    "auto",
    "farmaceutic",
    "IT",
    "transport",
    "agricultură",
];

pub(super) const SOURCES: [&str; 6] = ["website", "facebook-ads", "google", "recomandare", "târg", "import"];

pub(super) const TAGS: [&str; 10] = [
    "lead",
    "vip",
    "interested-laptop",
    "interested-telefon",
    "newsletter",
    "b2b",
    "retur",
    "client fidel",
    "contact-form",
    "qualified",
];

pub(super) const PAGES: [&str; 6] = [
    "/",
    "/produse/laptop-x",
    "/contact",
    "/livrare?utm_source=google&utm_medium=cpc",
    "/coș",
    "/blog/cum-alegi-căștile",
];

pub(super) const CHANNELS: [&str; 4] = ["website", "whatsapp", "messenger", "api"];

pub(super) const CHATBOTS: [&str; 3] = ["cb_abc123", "cb_vanzari", "cb_suport"];

/// Latin letters without their marks, for the local part of an e-mail address.
pub(super) fn plain(name: &str) -> String {
    let bare = name.chars().map(|letter| match letter {
        'ă' | 'â' | 'á' | 'Ă' | 'Â' => 'a',
        'é' | 'è' | 'ë' | 'É' => 'e',
        'î' | 'ï' => 'i',
        'ș' | 'Ș' => 's',
        'ț' | 'Ț' => 't',
        'ó' => 'o',
        'ü' => 'u',
        'ç' => 'c',
        other => other.to_ascii_lowercase(),
    });
    bare.filter(char::is_ascii_alphanumeric).collect()
}
