//! The chatbot: answers in the visitor's language, looks up stock and prices in the demo catalogue.

use super::account::{CATALOGUE, Product};

/// What the bot says to a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) content: String,
    /// 0 to 1.
    pub(super) confidence: f64,
    /// Articles of the knowledge base.
    pub(super) sources: Vec<String>,
    /// The visitor asked for a person.
    pub(super) handoff: bool,
}

/// The language of a text: `ro` or `en`. Undecided texts count as the language given.
pub(super) fn language(text: &str, otherwise: &'static str) -> &'static str {
    const ROMANIAN: [&str; 22] = [
        "bună",
        "buna",
        "ziua",
        "salut",
        "cât",
        "cat",
        "aveți",
        "aveti",
        "vreau",
        "este",
        "produsul",
        "livrarea",
        "stoc",
        "mulțumesc",
        "multumesc",
        "pentru",
        "preț",
        "pret",
        "pe",
        "costă",
        "costa",
        "vă",
    ];
    const ENGLISH: [&str; 17] = [
        "hello", "hi", "the", "is", "how", "much", "what", "price", "you", "have", "thanks", "please", "order",
        "about", "i'd", "like", "my",
    ];
    let text = text.to_lowercase();
    let words = || {
        text.split(|c: char| !c.is_alphanumeric() && c != '\'')
            .filter(|word| !word.is_empty())
    };
    let marks = text.chars().filter(|c| "ăâîșțşţ".contains(*c)).count();
    let romanian = marks + words().filter(|word| ROMANIAN.contains(word)).count();
    let english = words().filter(|word| ENGLISH.contains(word)).count();
    match romanian.cmp(&english) {
        std::cmp::Ordering::Greater => "ro",
        std::cmp::Ordering::Less => "en",
        std::cmp::Ordering::Equal => otherwise,
    }
}

/// What the bot answers in a language.
pub(super) fn answer(text: &str, language: &str) -> Answer {
    let romanian = language == "ro";
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let product = Product::asked_for(text);
    if has(&["operator", "agent", "om real", "human", "persoană", "coleg"]) {
        let content = if romanian {
            "Sigur, vă transfer imediat unui coleg. Rămâneți pe aproape, vă rog."
        } else {
            "Of course, I'm handing you over to a colleague. Please stay with us."
        };
        return said(content.to_owned(), 0.99, &[], true);
    }
    if has(&["return", "retur", "refund", "banii înapoi"]) {
        return said(choose(romanian, RETURNS), 0.91, &["kb_article_31"], false);
    }
    if has(&[
        "livr", "curier", "deliver", "ship", "colet", "ajuns", "arrived", "ajunge",
    ]) {
        return said(
            choose(romanian, SHIPPING),
            0.88,
            &["kb_article_15", "kb_article_16"],
            false,
        );
    }
    if has(&["garanți", "garanti", "warranty", "service", "turn on", "repair"]) {
        return said(choose(romanian, WARRANTY), 0.83, &["kb_article_40"], false);
    }
    if let Some(product) = product {
        return about(product, romanian);
    }
    if has(&["mulțum", "multum", "thank", "thx", "perfect", "great", "o zi bună"]) {
        return said(choose(romanian, WELCOME), 0.97, &[], false);
    }
    if has(&["comand", "order", "factur", "invoice"]) {
        return said(choose(romanian, ORDERS), 0.79, &["kb_article_52"], false);
    }
    said(choose(romanian, UNSURE), 0.42, &[], false)
}

fn about(product: &Product, romanian: bool) -> Answer {
    let (name, price, stock) = (product.name, product.price(romanian), product.stock);
    let content = match (romanian, stock) {
        (true, 0) => format!(
            "{name} ({}) costă {price}, dar momentan nu este pe stoc. Vă anunțăm când revine?",
            product.sku
        ),
        (true, _) => format!(
            "Da! {name} ({}) costă {price} și avem {stock} buc. pe stoc. ✅",
            product.sku
        ),
        (false, 0) => format!(
            "{name} ({}) is {price}, but it's out of stock. Shall we tell you when it's back?",
            product.sku
        ),
        (false, _) => format!(
            "Hello! {name} ({}) is available: {price}, {stock} in stock. ✅",
            product.sku
        ),
    };
    let number = CATALOGUE
        .iter()
        .position(|other| other.sku == product.sku)
        .unwrap_or_default();
    said(
        content,
        0.94,
        &[&format!("kb_article_{}", 60 + number), "kb_article_23"],
        false,
    )
}

fn said(content: String, confidence: f64, sources: &[&str], handoff: bool) -> Answer {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    Answer {
        content,
        confidence,
        sources,
        handoff,
    }
}

fn choose(romanian: bool, (ro, en): (&str, &str)) -> String {
    if romanian { ro } else { en }.to_owned()
}

const RETURNS: (&str, &str) = (
    "Aveți 14 zile pentru retur. Completați formularul din „Contul meu” și curierul vine gratuit după colet.",
    "You have 14 days to return it. Fill in the form under \"My account\" and our courier collects it free of charge.",
);
const SHIPPING: (&str, &str) = (
    "Livrăm prin curier în 24–48 h; transportul costă 19,99 lei, iar peste 300 lei e gratuit. 🚚",
    "We deliver within 24–48 h in Romania, 3–5 days elsewhere in Europe. 🚚",
);
const WARRANTY: (&str, &str) = (
    "Toate produsele au garanție 24 de luni.\nService: București, Cluj-Napoca și Iași.",
    "All products come with a 24-month warranty.\nRepair centres: Bucharest, Cluj-Napoca and Iași.",
);
const ORDERS: (&str, &str) = (
    "Îmi puteți spune numărul comenzii și adresa de e-mail? Verific imediat.",
    "Could you give me the order number and your e-mail address? I'll check right away.",
);
const WELCOME: (&str, &str) = ("Cu drag! O zi frumoasă! 😊", "You're welcome! Have a lovely day! 😊");
const UNSURE: (&str, &str) = (
    "Nu sunt sigur că am înțeles. Îmi puteți da mai multe detalii?",
    "I'm not sure I understood that. Could you tell me a little more?",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bot_answers_in_the_visitors_language_with_price_and_stock() {
        let english = "Hello, I'd like information about product X";
        assert_eq!(language(english, "ro"), "en");
        let reply = answer(english, "en");
        assert!(
            reply.content.contains("4,299.99 RON") && reply.content.contains("17 in stock"),
            "{}",
            reply.content
        );

        let romanian = "Cât costă o tastatură mecanică?";
        assert_eq!(language(romanian, "en"), "ro");
        let reply = answer(romanian, "ro");
        assert!(
            reply.content.contains("399,00 lei") && reply.content.contains("nu este pe stoc"),
            "{}",
            reply.content
        );
    }

    #[test]
    fn asking_for_a_person_hands_over() {
        assert!(answer("Vreau să vorbesc cu un operator", "ro").handoff);
        assert!(!answer("Livrați în Iași?", "ro").handoff);
    }
}
