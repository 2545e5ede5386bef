//! Products that a text mentions, in Romanian or English, by SKU or by name.
//!
//! A SKU counts whatever its case and whatever stands between its letters and digits (`ph 1000` is `PH-1000`), but never as part of a
//! longer word. A name is known by its words, in any order, whatever their endings, diacritics and a typo in a word of five letters or
//! more; a word with a digit is taken literally. What fits several products equally is one mention of several: whoever reads
//! it asks, and never guesses. So is a word with a digit that no name has between words of one: it says that another product is meant.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use rust_decimal::Decimal;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// So many products may be meant by one mention.
const MOST_CHOICES: usize = 5;
/// So many words of a text are looked at, and of a longer one, none.
const MOST_WORDS: usize = 500;
const LONGEST_WORD: usize = 40;
/// Words of at least so many letters may have a typo.
const TYPO_FROM: usize = 5;
/// A SKU consists of no more words than this.
const SKU_WORDS: usize = 6;
/// A name's words may stand so many others apart.
const APART: usize = 2;
/// A word that more products have than this, and than a tenth of all, says nothing by itself.
const COMMON: usize = 5;
/// Words that more products have are only looked at together with others.
const FREQUENT: usize = 2_000;

/// A product as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) sku: String,
    pub(super) name: String,
}

/// What is meant by some words of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Where they are, in bytes.
    at: Range<usize>,
    /// The words.
    pub(super) words: String,
    /// One product is meant; of several it is not clear which, the likeliest first.
    pub(super) products: Vec<Product>,
    /// How many of it are spoken of.
    pub(super) quantity: Option<Decimal>,
}

/// Products, prepared to be found in texts.
#[derive(Debug)]
pub(super) struct Catalogue {
    products: Vec<Product>,
    /// By letters and digits of the SKU alone.
    skus: HashMap<String, Vec<u32>>,
    /// The words of names, and the products that have them.
    words: Vec<(String, Vec<u32>)>,
    /// The words, by themselves and with one letter left out.
    keys: HashMap<String, Vec<u32>>,
    /// How much the words of a name say, by product.
    weights: Vec<f64>,
}

/// A word of a text.
#[derive(Debug)]
struct Word {
    at: Range<usize>,
    plain: String,
    /// Whether what stands before it may be within a SKU, and whether that ends what belongs together.
    joins: bool,
    is_apart: bool,
}

impl Word {
    fn has_digit(&self) -> bool {
        self.plain.contains(|c: char| c.is_ascii_digit())
    }

    /// Whether it says what a thing is.
    fn tells(&self) -> bool {
        !self.is_number() && self.plain.chars().count() > 2
    }

    fn is_number(&self) -> bool {
        self.plain.chars().all(|c| c.is_ascii_digit())
    }
}

impl Catalogue {
    /// Prepares products; of several with one SKU the first counts.
    pub(super) fn new(products: impl IntoIterator<Item = Product>) -> Self {
        let mut known = HashSet::new();
        let products: Vec<Product> = products
            .into_iter()
            .filter(|product| known.insert(product.sku.clone()))
            .collect();
        let mut skus: HashMap<String, Vec<u32>> = HashMap::new();
        let mut postings: HashMap<String, Vec<u32>> = HashMap::new();
        for (number, product) in (0_u32..).zip(&products) {
            let sku: String = words(&product.sku).iter().map(|word| word.plain.as_str()).collect();
            if !sku.is_empty() {
                skus.entry(sku).or_default().push(number);
            }
            for word in name_words(&product.name) {
                postings.entry(word).or_default().push(number);
            }
        }
        let mut words: Vec<(String, Vec<u32>)> = postings.into_iter().collect();
        words.sort_unstable();
        let mut keys: HashMap<String, Vec<u32>> = HashMap::new();
        let mut weights = vec![0.0; products.len()];
        for (number, (word, having)) in (0_u32..).zip(&words) {
            for key in keys_of(word) {
                keys.entry(key).or_default().push(number);
            }
            for &product in having {
                weights[product as usize] += weight(having.len(), products.len());
            }
        }
        Self {
            products,
            skus,
            words,
            keys,
            weights,
        }
    }

    /// The products that a text mentions, in its order.
    pub(super) fn mentions(&self, text: &str) -> Vec<Mention> {
        let words = words(text);
        let mut taken = vec![false; words.len()];
        let mut found = self.by_sku(text, &words, &mut taken);
        found.extend(self.by_name(&words, &mut taken));
        found.sort_by_key(|(range, _)| range.start);
        let quantities: Vec<Option<Decimal>> = found.iter().map(|(range, _)| quantity(&words, range, &taken)).collect();
        found
            .into_iter()
            .zip(quantities)
            .map(|((range, products), quantity)| {
                let at = words[range.start].at.start..words[range.end - 1].at.end;
                Mention {
                    words: text[at.clone()].to_owned(),
                    at,
                    products: products
                        .into_iter()
                        .map(|number| self.products[number as usize].clone())
                        .collect(),
                    quantity,
                }
            })
            .collect()
    }

    fn by_sku(&self, text: &str, words: &[Word], taken: &mut [bool]) -> Vec<(Range<usize>, Vec<u32>)> {
        let mut found = Vec::new();
        let mut start = 0;
        while start < words.len() {
            match self.sku_at(text, words, start) {
                Some((end, products)) => {
                    taken[start..end].fill(true);
                    found.push((start..end, products));
                    start = end;
                }
                None => start += 1,
            }
        }
        found
    }

    /// The longest SKU that begins with a word.
    fn sku_at(&self, text: &str, words: &[Word], start: usize) -> Option<(usize, Vec<u32>)> {
        let mut joined = String::new();
        let mut longest = None;
        for end in start + 1..=words.len().min(start + SKU_WORDS) {
            let word = &words[end - 1];
            if end > start + 1 && !word.joins {
                break;
            }
            joined.push_str(&word.plain);
            let Some(numbers) = self.skus.get(&joined) else {
                continue;
            };
            let slice = &text[words[start].at.start..word.at.end];
            let exact = numbers.iter().copied().filter(|&number| {
                let sku = &self.products[number as usize].sku;
                sku.to_lowercase() == slice.to_lowercase()
            });
            let exact: Vec<u32> = exact.collect();
            let is_digits = joined.chars().all(|c| c.is_ascii_digit());
            let is_letters = !joined.contains(|c: char| c.is_ascii_digit());
            let is_spaced = slice.contains(char::is_whitespace);
            // Numbers and words that stand apart mean themselves.
            let is_chance = (is_digits && joined.len() < 4 && !is_announced(words, start))
                || (is_spaced && exact.is_empty() && (is_digits || is_letters || joined.len() < 4));
            if !is_chance {
                let products = if exact.len() == 1 { exact } else { numbers.clone() };
                longest = Some((end, products.into_iter().take(MOST_CHOICES).collect()));
            }
        }
        longest
    }

    fn by_name(&self, words: &[Word], taken: &mut [bool]) -> Vec<(Range<usize>, Vec<u32>)> {
        let meant: Vec<Vec<u32>> = words
            .iter()
            .zip(taken.iter())
            .map(|(word, &taken)| {
                if taken || is_stop_word(&word.plain) {
                    Vec::new()
                } else {
                    self.similar(&word.plain)
                }
            })
            .collect();
        let mut found = Vec::new();
        for stretch in stretches(words, &meant, taken) {
            let mut left: Vec<usize> = stretch.clone().filter(|&at| !meant[at].is_empty()).collect();
            while !left.is_empty() {
                let Some((used, products)) = self.best(words, &left, &meant) else {
                    break;
                };
                let (Some(&first), Some(&last)) = (used.first(), used.last()) else {
                    break;
                };
                // Another model than those that are known.
                let near = first.saturating_sub(1).max(stretch.start)..(last + 2).min(stretch.end);
                let is_other = near
                    .filter(|at| !used.contains(at) && !taken[*at] && meant[*at].is_empty())
                    .any(|at| words[at].has_digit() && !words[at].is_number());
                left.retain(|at| !used.contains(at));
                if is_other && products.len() == 1 {
                    continue;
                }
                for &at in &used {
                    taken[at] = true;
                }
                found.push((first..last + 1, products));
            }
        }
        found
    }

    /// The products that most of these words fit, and which of the words those are; `None` if they say nothing.
    fn best(&self, words: &[Word], left: &[usize], meant: &[Vec<u32>]) -> Option<(Vec<usize>, Vec<u32>)> {
        let count = self.products.len();
        let mut scores: HashMap<u32, f64> = HashMap::new();
        // A number, or a letter or two, says which, but not what.
        let (telling, others): (Vec<usize>, Vec<usize>) = left.iter().partition(|at| words[**at].tells());
        for at in telling {
            // A product counts once for a word, however many of its own are like it.
            let mut seen: HashSet<u32> = HashSet::new();
            for &word in &meant[at] {
                let having = &self.words[word as usize].1;
                // What so many have is not gone through for nothing.
                if having.len() > FREQUENT && !scores.is_empty() {
                    for (product, score) in &mut scores {
                        if having.binary_search(product).is_ok() {
                            *score += weight(having.len(), count);
                        }
                    }
                    continue;
                }
                for &product in having {
                    if seen.insert(product) {
                        *scores.entry(product).or_default() += weight(having.len(), count);
                    }
                }
            }
        }
        for &word in others.iter().flat_map(|at| &meant[*at]) {
            let having = &self.words[word as usize].1;
            for (product, score) in &mut scores {
                if having.binary_search(product).is_ok() {
                    *score += weight(having.len(), count);
                }
            }
        }
        let top = scores.values().copied().fold(0.0, f64::max);
        let is_top = |score: f64| score > top - 1e-9;
        let mut best: Vec<u32> = scores
            .iter()
            .filter(|(_, score)| is_top(**score))
            .map(|(product, _)| *product)
            .collect();
        // A name that is said in full is meant, although a longer one has its words, too.
        let full: Vec<u32> = best
            .iter()
            .copied()
            .filter(|&product| is_top(self.weights[product as usize]))
            .collect();
        if full.len() == 1 {
            best = full;
        }
        best.sort_unstable();
        let first = *best.first()?;
        let fits = |at: &usize, product: u32| {
            meant[*at]
                .iter()
                .any(|&word| self.words[word as usize].1.binary_search(&product).is_ok())
        };
        let used: Vec<usize> = left.iter().copied().filter(|at| fits(at, first)).collect();
        if best.len() > COMMON && best.len() * 10 > count {
            return None;
        }
        best.truncate(MOST_CHOICES);
        Some((used, best))
    }

    /// The words of names that a word may be: itself, else those with one typo.
    fn similar(&self, plain: &str) -> Vec<u32> {
        let of_key = |key: &String| self.keys.get(key).into_iter().flatten().copied();
        let stems = stems(plain);
        let is_same = |word: &u32| {
            let other = self.words[*word as usize].0.as_str();
            self::stems(other).iter().any(|stem| stems.contains(stem))
        };
        let has_typo = |word: &u32| {
            let other = self.words[*word as usize].0.as_str();
            let near = |one: &&str, other: &&str| {
                may_have_typo(one) && may_have_typo(other) && strsim::osa_distance(one, other) == 1
            };
            self::stems(other)
                .iter()
                .any(|other| stems.iter().any(|stem| near(stem, other)))
        };
        let distinct = |mut found: Vec<u32>| {
            found.sort_unstable();
            found.dedup();
            found
        };
        let exact = stems
            .iter()
            .flat_map(|stem| of_key(&(*stem).to_owned()))
            .filter(is_same);
        let exact = distinct(exact.collect());
        if !exact.is_empty() {
            return exact;
        }
        distinct(keys_of(plain).iter().flat_map(of_key).filter(has_typo).collect())
    }
}

/// What a word says: the fewer products have it, the more.
#[expect(clippy::cast_precision_loss, reason = "there are not that many products")]
fn weight(having: usize, of: usize) -> f64 {
    1.0 + (of as f64 / having.max(1) as f64).ln()
}

/// Words of a text, plain: lower case, without diacritics and marks that nobody sees.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut between = String::new();
    let is_unseen = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}');
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if is_unseen(c) || is_combining_mark(c) {
            continue;
        }
        if c.is_alphanumeric() {
            let (_, plain) = word.get_or_insert_with(|| (at, String::new()));
            let lower = c
                .to_lowercase()
                .flat_map(|c| std::iter::once(c).nfd().collect::<Vec<_>>());
            plain.extend(lower.filter(|c| !is_combining_mark(*c)));
            end = at + c.len_utf8();
            continue;
        }
        if let Some((start, plain)) = word.take() {
            push(&mut words, start..end, plain, &std::mem::take(&mut between));
        }
        between.push(c);
        if words.len() >= MOST_WORDS {
            return words;
        }
    }
    if let Some((start, plain)) = word {
        push(&mut words, start..end, plain, &between);
    }
    words
}

fn push(words: &mut Vec<Word>, at: Range<usize>, plain: String, between: &str) {
    let mut word = Word {
        at,
        plain,
        joins: between.chars().count() == 1 && between.contains(|c: char| "-_./ \u{a0}".contains(c)),
        is_apart: between.contains([',', ';', '!', '?', '\n', ':', '(', ')']) || between.contains(". "),
    };
    // "2,5" is one number.
    if between == "," && word.is_number() && words.last().is_some_and(Word::is_number) {
        (word.joins, word.is_apart) = (true, false);
    }
    words.push(word);
}

/// The distinct words of a name.
fn name_words(name: &str) -> Vec<String> {
    let words = words(name);
    let told = words
        .iter()
        .filter(|word| !is_stop_word(&word.plain) && word.plain.len() <= LONGEST_WORD);
    let mut told: Vec<String> = told.map(|word| word.plain.clone()).collect();
    told.sort_unstable();
    told.dedup();
    told
}

/// What a word may be without its ending, be it a Romanian article, case or plural, or the English plural. Which it is, only who
/// knows the word can tell: `tastaturi` ends in -i, and `laptopuri` in -uri.
fn stems(plain: &str) -> Vec<&str> {
    const ENDINGS: [&str; 19] = [
        "urilor", "urile", "ului", "elor", "ilor", "lor", "uri", "ile", "ele", "lui", "ul", "le", "ii", "ei", "a", "e",
        "i", "s", "u",
    ];
    let mut stems = Vec::new();
    if !plain.contains(|c: char| c.is_ascii_digit()) && plain.chars().count() >= 4 {
        let without = ENDINGS.iter().filter_map(|ending| plain.strip_suffix(ending));
        stems.extend(without.filter(|rest| rest.chars().count() >= 3));
    }
    if stems.is_empty() {
        stems.push(plain);
    }
    stems
}

fn may_have_typo(stem: &str) -> bool {
    let letters = stem.chars().count();
    (TYPO_FROM..=LONGEST_WORD).contains(&letters) && !stem.contains(|c: char| c.is_ascii_digit())
}

/// A word without its ending, and each that is with one letter left out: two words one typo apart have one in common.
fn keys_of(plain: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for stem in stems(plain) {
        keys.push(stem.to_owned());
        if may_have_typo(stem) {
            for (at, c) in stem.char_indices() {
                keys.push(format!("{}{}", &stem[..at], &stem[at + c.len_utf8()..]));
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Stretches of a text in which the words of one name may stand.
fn stretches(words: &[Word], meant: &[Vec<u32>], taken: &[bool]) -> Vec<Range<usize>> {
    const BETWEEN: [&str; 7] = ["si", "sau", "and", "or", "plus", "ori", "iar"];
    let mut stretches: Vec<Range<usize>> = Vec::new();
    let mut last: Option<usize> = None;
    for at in 0..words.len() {
        if words[at].is_apart || taken[at] || BETWEEN.contains(&words[at].plain.as_str()) {
            last = None;
        }
        if meant[at].is_empty() || taken[at] {
            continue;
        }
        match (last, stretches.last_mut()) {
            (Some(before), Some(stretch)) if at - before <= APART + 1 => stretch.end = at + 1,
            _ => stretches.push(at..at + 1),
        }
        last = Some(at);
    }
    // A word behind may tell of another model.
    for stretch in &mut stretches {
        let behind = stretch.end;
        if behind < words.len() && !words[behind].is_apart {
            stretch.end += 1;
        }
    }
    stretches
}

/// Whether a word before says that a code follows.
fn is_announced(words: &[Word], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| words[before].plain.as_str());
    before.is_some_and(|word| {
        [
            "sku",
            "cod",
            "codul",
            "code",
            "articol",
            "articolul",
            "produs",
            "produsul",
            "item",
        ]
        .contains(&word)
    })
}

/// How many are spoken of just before some words, or just behind.
fn quantity(words: &[Word], range: &Range<usize>, taken: &[bool]) -> Option<Decimal> {
    const UNITS: [&str; 15] = [
        "buc", "bucati", "bucata", "bucatile", "pcs", "piece", "pieces", "x", "ori", "de", "of", "unitati", "units",
        "seturi", "set",
    ];
    let is_unit = |at: usize| UNITS.contains(&words[at].plain.as_str());
    let number = |at: usize| (!taken[at]).then(|| number(words, at)).flatten();
    let mut at = range.start;
    for _ in 0..3 {
        if at == 0 || words[at].is_apart {
            break;
        }
        at -= 1;
        if let Some(number) = number(at) {
            return Some(number);
        }
        if !is_unit(at) {
            break;
        }
    }
    // A comma does not part a quantity from what it is of: "…, 3 buc".
    for at in (range.end..words.len()).take(3) {
        if let Some(number) = number(at) {
            let is_of_next = at + 1 < words.len() && !is_unit(at + 1) && !words[at + 1].is_apart && at == range.end;
            return (!is_of_next).then_some(number);
        }
        if !is_unit(at) {
            break;
        }
    }
    None
}

/// The number that a word is, with the decimals in the words behind it.
fn number(words: &[Word], at: usize) -> Option<Decimal> {
    const NAMES: [(&str, u32); 45] = [
        ("doi", 2),
        ("doua", 2),
        ("trei", 3),
        ("patru", 4),
        ("cinci", 5),
        ("sase", 6),
        ("sapte", 7),
        ("opt", 8),
        ("noua", 9),
        ("zece", 10),
        ("unsprezece", 11),
        ("doisprezece", 12),
        ("douasprezece", 12),
        ("treisprezece", 13),
        ("paisprezece", 14),
        ("cincisprezece", 15),
        ("saisprezece", 16),
        ("saptesprezece", 17),
        ("optsprezece", 18),
        ("nouasprezece", 19),
        ("douazeci", 20),
        ("one", 1),
        ("two", 2),
        ("three", 3),
        ("four", 4),
        ("five", 5),
        ("six", 6),
        ("seven", 7),
        ("eight", 8),
        ("nine", 9),
        ("ten", 10),
        ("eleven", 11),
        ("twelve", 12),
        ("thirteen", 13),
        ("fourteen", 14),
        ("fifteen", 15),
        ("sixteen", 16),
        ("seventeen", 17),
        ("eighteen", 18),
        ("nineteen", 19),
        ("twenty", 20),
        ("unu", 1),
        ("una", 1),
        ("saizeci", 60),
        ("suta", 100),
    ];
    let word = &words[at];
    if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == word.plain) {
        return Some((*number).into());
    }
    let is_part = |at: usize| words.get(at).is_some_and(|word| word.is_number() && word.joins);
    // "2x", as in "2x PH-1000".
    let digits = word.plain.strip_suffix('x').unwrap_or(&word.plain);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) || digits.len() > 7 {
        return None;
    }
    // The last word of "1.000" or "2.5": the whole of it is read from its first.
    if word.joins && at > 0 && words[at - 1].is_number() && !words[at - 1].plain.is_empty() {
        let first = &words[at - 1].plain;
        let text = if word.plain.len() == 3 {
            format!("{first}{}", word.plain)
        } else {
            format!("{first}.{}", word.plain)
        };
        return bounded(&text);
    }
    if is_part(at + 1) {
        let second = &words[at + 1].plain;
        let text = if second.len() == 3 {
            format!("{digits}{second}")
        } else {
            format!("{digits}.{second}")
        };
        return bounded(&text);
    }
    bounded(digits)
}

fn bounded(text: &str) -> Option<Decimal> {
    let number: Decimal = text.parse().ok()?;
    (number > Decimal::ZERO && number <= Decimal::from(1_000_000)).then_some(number)
}

fn is_stop_word(plain: &str) -> bool {
    const STOP: [&str; 84] = [
        "a",
        "ai",
        "al",
        "am",
        "ar",
        "are",
        "as",
        "au",
        "avea",
        "aveti",
        "avem",
        "buna",
        "ca",
        "care",
        "cat",
        "ce",
        "cel",
        "cu",
        "cost",
        "costa",
        "cum",
        "da",
        "de",
        "din",
        "e",
        "este",
        "ati",
        "in",
        "la",
        "lor",
        "mai",
        "ma",
        "mi",
        "multumesc",
        "nu",
        "o",
        "pe",
        "pentru",
        "pret",
        "pretul",
        "putea",
        "sa",
        "salut",
        "se",
        "si",
        "sunt",
        "stoc",
        "stocul",
        "un",
        "una",
        "va",
        "vreau",
        "vrea",
        "ziua",
        "doresc",
        "oferta",
        "disponibil",
        "the",
        "is",
        "do",
        "you",
        "have",
        "an",
        "any",
        "and",
        "or",
        "how",
        "much",
        "many",
        "what",
        "price",
        "stock",
        "of",
        "for",
        "i",
        "want",
        "need",
        "please",
        "hello",
        "hi",
        "to",
        "my",
        "me",
        "it",
    ];
    STOP.contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Catalogue {
        let products = [
            ("PH-1000", "Pompă de căldură aer-apă"),
            ("PH-2000", "Pompă de căldură sol-apă"),
            ("CZ-24", "Centrală termică Ariston 24 kW"),
            ("CZ-35", "Centrală termică Ariston 35 kW"),
            ("TM-1", "Tastatură mecanică"),
            ("LPX", "Laptop X"),
            ("LPY", "Laptop Y"),
            ("123", "Șurub M6"),
            ("5941234567890", "Radiator din oțel 600x1000"),
            ("A.B", "Adaptor"),
            ("AB", "Alt adaptor"),
        ];
        Catalogue::new(products.map(|(sku, name)| Product {
            sku: sku.to_owned(),
            name: name.to_owned(),
        }))
    }

    fn found(text: &str) -> Vec<(Vec<String>, Option<String>)> {
        let mentions = shop().mentions(text);
        for mention in &mentions {
            assert_eq!(text[mention.at.clone()], mention.words);
        }
        mentions
            .into_iter()
            .map(|mention| {
                let skus = mention.products.into_iter().map(|product| product.sku).collect();
                (skus, mention.quantity.map(|quantity| quantity.normalize().to_string()))
            })
            .collect()
    }

    fn skus(text: &str) -> Vec<Vec<String>> {
        found(text).into_iter().map(|(skus, _)| skus).collect()
    }

    #[test]
    fn a_sku_is_found_however_it_is_written_and_never_inside_another_word() {
        for text in [
            "Aveți pe stoc PH-1000?",
            "ph1000",
            "do you have Ph 1000 in stock",
            "PH_1000!",
            "cod:PH-1000,",
            "PH.1000",
            "PH-\u{200b}1000",
        ] {
            assert_eq!(skus(text), [["PH-1000"]], "{text}");
        }
        for text in [
            "PH-10001",
            "XPH-1000X",
            "PH",
            "1000",
            "123",
            "123 de oameni",
            "am 35 de ani",
        ] {
            assert_eq!(skus(text), [[""; 0]; 0], "{text}");
        }
        assert_eq!(skus("cod 123"), [["123"]]);
        assert_eq!(skus("5941234567890"), [["5941234567890"]]);
        // Written exactly it is one, else it may be either.
        assert_eq!(skus("aveti A.B?"), [["A.B"]]);
        assert_eq!(skus("aveti A-B?"), [["A.B", "AB"]]);
    }

    #[test]
    fn a_name_is_found_whatever_its_endings_diacritics_order_and_a_typo() {
        for text in [
            "Cât costă tastatura mecanică?",
            "tastaturi mecanice",
            "mecanica tastatura",
            "TASTATURĂ MECANICĂ",
            "tastatrua mecanica",
            "tastatură mecanică",
            "o tastaturǎ, mecanică",
            "vreau tastaturile mecanice",
        ] {
            let told = skus(text);
            assert!(told.contains(&vec!["TM-1".to_owned()]), "{text}: {told:?}");
        }
        assert_eq!(skus("pompa de caldura aer apa"), [["PH-1000"]]);
        assert_eq!(skus("I want laptop X please"), [["LPX"]]);
        assert_eq!(skus("centrala Ariston de 24"), [["CZ-24"]]);
    }

    #[test]
    fn what_fits_several_is_asked_about_and_never_guessed() {
        assert_eq!(skus("Aveți pompe de căldură?"), [["PH-1000", "PH-2000"]]);
        assert_eq!(skus("un laptop"), [["LPX", "LPY"]]);
        assert_eq!(skus("centrale termice"), [["CZ-24", "CZ-35"]]);
        // A model that there is not.
        assert_eq!(skus("tastatura mecanica k95"), [[""; 0]; 0]);
        for text in [
            "",
            "Bună ziua!",
            "Livrați în Iași?",
            "mulțumesc",
            "e stoc?",
            "the price of it",
            "12 34 56",
        ] {
            assert_eq!(skus(text), [[""; 0]; 0], "{text}");
        }
    }

    #[test]
    fn several_are_found_in_their_order_each_with_its_quantity() {
        let one = |sku: &str, quantity: Option<&str>| (vec![sku.to_owned()], quantity.map(str::to_owned));
        assert_eq!(
            found("Vreau 3 bucăți de PH-1000 și două tastaturi mecanice, plus CZ-24 x 4"),
            [
                one("PH-1000", Some("3")),
                one("TM-1", Some("2")),
                one("CZ-24", Some("4"))
            ]
        );
        for (text, quantity) in [
            ("vreau 10 PH-1000", Some("10")),
            ("2 x PH-1000", Some("2")),
            ("2x PH-1000", Some("2")),
            ("PH-1000: 5 buc", Some("5")),
            ("five pieces of PH-1000", Some("5")),
            ("1.000 buc PH-1000", Some("1000")),
            ("2,5 PH-1000", Some("2.5")),
            ("PH-1000", None),
            ("0 PH-1000", None),
            ("9999999 PH-1000", None),
            ("douăsprezece bucăți PH-1000", Some("12")),
        ] {
            assert_eq!(found(text), [one("PH-1000", quantity)], "{text}");
        }
    }

    #[test]
    fn hostile_texts_are_texts() {
        let mut seed = 7_u64;
        let mut next = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap()
        };
        let pieces = [
            "PH",
            "-",
            "1000",
            " ",
            "pompă",
            "\u{202e}",
            "\u{200d}",
            "căldură",
            "ă\u{301}",
            "🔥",
            "{{ 7*7 }}",
            "' OR 1=1 --",
            "\0",
            "ﬁ",
            "İ",
            "ß",
            "\n",
            "laptop",
            "x",
            ",",
            "１２",
            "٣",
            "\u{feff}",
            "24",
            ".",
            "5",
            "kW",
        ];
        let shop = shop();
        for _ in 0..2_000 {
            let text: String = (0..next() % 30).map(|_| pieces[next() % pieces.len()]).collect();
            for mention in shop.mentions(&text) {
                assert_eq!(text[mention.at.clone()], mention.words);
                assert!((1..=5).contains(&mention.products.len()));
            }
        }
        assert!(shop.mentions(&"pompă de căldură ".repeat(5_000)).len() <= MOST_WORDS);
    }
}
