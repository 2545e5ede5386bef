//! What visitors say; the bot answers for itself.

/// A topic of conversation, with what a visitor asks about it. `{p}` is a product, `{n}` an order number.
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) romanian: &'static [&'static str],
    pub(super) english: &'static [&'static str],
}

pub(super) const TOPICS: [Topic; 6] = [
    Topic {
        name: "pricing",
        romanian: &[
            "Bună ziua! Cât costă {p}?",
            "Ce preț are {p} dacă iau 3 bucăți? 🙂",
            "Am văzut \"{p}\" mai ieftin în altă parte… îmi faceți și mie o reducere?",
            "Prețul la {p} e cu TVA?",
        ],
        english: &[
            "Hi, how much is {p}?",
            "What's the price of {p}, VAT included?",
            "I've seen '{p}' cheaper elsewhere. Can you match the price?",
        ],
    },
    Topic {
        name: "stock",
        romanian: &[
            "Mai aveți pe stoc {p}?",
            "Este disponibil {p} în magazinul din Cluj?\nSau doar online?",
            "Când reveniți cu {p} în stoc? Aștept de 2 săptămâni 😕",
        ],
        english: &[
            "Is {p} in stock?",
            "Do you have {p} available right now?",
            "When will {p} be back in stock? 🤞",
        ],
    },
    Topic {
        name: "shipping",
        romanian: &[
            "În cât timp ajunge {p} la Târgu Mureș?",
            "Cât costă livrarea prin curier?",
            "Comanda {n} nu a ajuns încă. Unde e coletul meu?!",
        ],
        english: &[
            "How long does delivery of {p} take?",
            "Do you ship to the UK?",
            "My order {n} hasn't arrived yet — where is it?",
        ],
    },
    Topic {
        name: "returns",
        romanian: &[
            "Vreau să returnez {p}, am 14 zile, nu?",
            "Produsul {p} a venit zgâriat. Cum fac returul?\n\n— trimis de pe telefon",
            "Când îmi intră banii înapoi pentru comanda {n}?",
        ],
        english: &[
            "How do I return {p}?",
            "{p} arrived scratched, I'd like a refund.",
            "Refund status for order {n}, please.",
        ],
    },
    Topic {
        name: "warranty",
        romanian: &[
            "Ce garanție are {p}?",
            "{p} nu mai pornește. Unde e service-ul cel mai apropiat?",
        ],
        english: &[
            "What warranty comes with {p}?",
            "My {p} won't turn on any more. Where's your repair centre?",
        ],
    },
    Topic {
        name: "orders",
        romanian: &[
            "Pot modifica adresa la comanda {n}?",
            "Vreau factură pe firmă pentru comanda {n}, CUI RO12345678.",
        ],
        english: &[
            "Can I change the address of order {n}?",
            "I need an invoice for order {n}.",
        ],
    },
];

pub(super) const CLOSING_ROMANIAN: [&str; 5] = [
    "Mulțumesc mult! 🙏",
    "Perfect, o zi bună!",
    "ok",
    "Am înțeles, mai revin.",
    "Aș vrea să vorbesc cu un operator uman, vă rog.",
];

pub(super) const CLOSING_ENGLISH: [&str; 4] = [
    "Thanks a lot! 👍",
    "Great, that's all I needed.",
    "ok thx",
    "Could I talk to a human agent, please?",
];
