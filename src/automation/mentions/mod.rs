//! Which products of a catalogue a text is about, in Romanian and English.
//!
//! [`Catalogue::mentions`] reads a text word by word and says what is meant by them. It never guesses: of several
//! products that fit equally it tells all (somebody must ask which is meant), and of one that fits badly it tells
//! nothing.
//!
//! 1. A SKU is read in any case, with or without spaces, dashes, dots, underscores and slashes between its groups of
//!    letters and digits, if it stands apart from other letters and digits. A number of fewer than four digits, one
//!    letter and a common word are a SKU only after a word like "cod". A SKU goes before a name.
//! 2. A word of a name is read in any case and inflection, with or without diacritics, with one typo if it has five
//!    letters (in the text too) and two if it has nine; but not with its first letter missing or another before it. A
//!    word with digits has no typos.
//! 3. Words side by side, in any order, are one mention for as long as some product has all of them. Of the products
//!    that have, one whose name is complete goes before the others, if at least two words say so.
//! 4. Where the words of two products meet with nothing between them ("laptop asus", and all laptops are Lenovo), they
//!    are one mention of either, unless each part has two words. After a preposition ("husă pentru telefon") they add
//!    nothing.
//! 5. A part of a name is not enough beside a word that no such product has ("iphone 14", and there is iPhone 15
//!    alone), unless it is a code of letters and digits; and a whole name is not beside another code, or a word like
//!    "Pro".
//! 6. What fits more than five products and a tenth of the catalogue says nothing, nor do colours, sizes and the like
//!    alone.
//!
//! All work is bounded: postings of words are intersected, never names scanned, and typos are found by what is left of
//! a word without one or two of its letters. `MOST_STEPS` and its like end the search for names in a text that nobody
//! would write.

mod lexicon;
mod names;
mod quantities;
mod reader;
#[cfg(test)]
mod tests;
mod tokens;
mod typos;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use rust_decimal::Decimal;

use lexicon::{Class, INCHES, TRAITS, VARIANTS, stem};
use names::name_words;
use quantities::{Quantities, is_positive, value};
use reader::{Kind, Reader, Stranger, Term};
use tokens::{Gap, Token, is_apart, is_unlike_prose, sku_key, tokens};
use typos::{Lists, Typos, id};

/// The most products that a catalogue has; those that come after them are left out.
pub(super) const MOST_PRODUCTS: usize = 20_000;
/// The most products that one mention tells.
pub(super) const MOST_CANDIDATES: usize = 5;
/// The most products that are looked at for the names in one text; what comes later in it is searched for SKUs alone.
const MOST_STEPS: usize = 200_000;
/// The most mentions in one text; what comes later in it is not told.
const MOST_MENTIONS: usize = 100;
/// How many words may stand between two words of one name.
const WIDEST_GAP: usize = 3;
/// The longest SKU in bytes, without what is between its groups.
const LONGEST_SKU: usize = 64;
/// The longest word that may have typos, in letters.
const LONGEST_TYPO: usize = 32;
/// So many letters at the beginning of a word are those that typos are found by.
const TYPO_PREFIX: usize = 8;
/// The most words of names that the words with typos in one text are compared with; later ones have none.
const MOST_COMPARED: usize = 4_000;
/// A group of more letters beside digits is a word of its own: "iPhone15", but not "A54".
const CODE_LETTERS: usize = 4;

/// A product as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Product {
    /// What identifies it, e.g. "PH-1000".
    pub(in crate::automation) sku: String,
    /// What people call it, e.g. "Mouse Logitech Pebble 2".
    pub(in crate::automation) name: String,
}

/// What may be meant by some words of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention<'c> {
    /// Where the words are, in bytes of the text.
    pub(in crate::automation) at: Range<usize>,
    /// The words, as they are in the text.
    pub(in crate::automation) words: String,
    /// One product: it is meant. Several: any of them may be meant, best first, at most [`MOST_CANDIDATES`].
    pub(in crate::automation) products: Vec<&'c Product>,
    /// How many are spoken of, if that is said: more than zero, at most a million.
    pub(in crate::automation) quantity: Option<Decimal>,
}

/// A catalogue prepared for matching.
#[derive(Debug)]
pub(super) struct Catalogue {
    products: Vec<Product>,
    /// The products of each SKU, by [`sku_key`].
    skus: HashMap<String, Vec<u32>>,
    longest_sku: usize,
    /// The words of names, by their stem.
    words: HashMap<String, u32>,
    /// Two words that follow each other in a name, by the stem of both written as one: "powerbank".
    pairs: HashMap<String, [u32; 2]>,
    /// What each word is like.
    traits: Vec<Word>,
    typos: Typos,
    /// The words of each product's name, in their order.
    names: Lists,
    /// The products of each word, in the catalogue's order.
    postings: Lists,
}

/// What a word of names is like.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    /// A name begins with it: it says what a thing is.
    is_head: bool,
    /// It only says what a thing is like: a colour, a size.
    is_trait: bool,
    /// It has letters and digits, and is no measure: "A54".
    is_code: bool,
}

impl Word {
    /// What is sure of a word that may be either.
    fn either(self, other: Self) -> Self {
        Self {
            is_head: self.is_head | other.is_head,
            is_trait: self.is_trait & other.is_trait,
            is_code: self.is_code & other.is_code,
        }
    }
}

impl Catalogue {
    /// The catalogue of `products`, of which at most [`MOST_PRODUCTS`] are taken.
    pub(in crate::automation) fn new(products: impl IntoIterator<Item = Product>) -> Self {
        let products: Vec<Product> = products.into_iter().take(MOST_PRODUCTS).collect();
        let mut skus: HashMap<String, Vec<u32>> = HashMap::new();
        let mut words: HashMap<String, u32> = HashMap::new();
        let mut pairs = HashMap::new();
        let mut traits: Vec<Word> = Vec::new();
        let mut spellings: HashMap<String, u32> = HashMap::new();
        let mut names: Vec<Vec<u32>> = Vec::with_capacity(products.len());
        let mut postings: Vec<Vec<u32>> = Vec::new();
        for (at, product) in products.iter().enumerate() {
            let key = sku_key(&tokens(&product.sku));
            if !key.is_empty() && key.len() <= LONGEST_SKU {
                skus.entry(key).or_default().push(id(at));
            }
            let mut name: Vec<u32> = Vec::new();
            let mut before: Option<(u32, String)> = None;
            let mut has_head = false;
            for word in name_words(&product.name) {
                let next = id(traits.len());
                let word_id = *words.entry(word.key.clone()).or_insert(next);
                if word_id == next {
                    let is_trait = TRAITS.contains(&word.key.as_str());
                    let is_code = word.key.starts_with(char::is_alphabetic)
                        && word.key.contains(|char: char| char.is_ascii_digit());
                    traits.push(Word {
                        is_head: false,
                        is_trait,
                        is_code,
                    });
                    postings.push(Vec::new());
                }
                let kind = &mut traits[word_id as usize];
                kind.is_head |= !has_head && word.spelling.is_some();
                has_head |= !kind.is_trait;
                if let (Some((first, spelling)), Some(second)) = (&before, &word.spelling) {
                    pairs.insert(stem(&format!("{spelling}{second}")), [*first, word_id]);
                }
                before = word.spelling.clone().map(|spelling| (word_id, spelling));
                if let Some(spelling) = word.spelling {
                    spellings.insert(word.key, word_id);
                    spellings.insert(spelling, word_id);
                }
                if !name.contains(&word_id) {
                    name.push(word_id);
                    postings[word_id as usize].push(id(at));
                }
            }
            names.push(name);
        }
        Self {
            longest_sku: skus.keys().map(String::len).max().unwrap_or(0),
            products,
            skus,
            words,
            pairs,
            traits,
            typos: Typos::new(spellings),
            names: Lists::new(&names),
            postings: Lists::new(&postings),
        }
    }

    /// The products that the text mentions, in its order.
    pub(in crate::automation) fn mentions(&self, text: &str) -> Vec<Mention<'_>> {
        let terms = self.terms(text);
        let mut reader = Reader::new(self, &terms);
        reader.read();
        let mut found = reader.found;
        found.truncate(MOST_MENTIONS);
        let mut quantities = Quantities {
            catalogue: self,
            terms: &terms,
            taken: 0,
        };
        let mentions = found.iter().enumerate().map(|(at, found_here)| {
            let next = found.get(at + 1).map(|next| next.first);
            let bytes = terms[found_here.first].at.start..terms[found_here.last].at.end;
            Mention {
                words: text[bytes.clone()].to_owned(),
                at: bytes,
                products: found_here
                    .products
                    .iter()
                    .map(|product| &self.products[*product as usize])
                    .collect(),
                quantity: quantities.of(found_here, next),
            }
        });
        mentions.collect()
    }

    /// The text as what its words may be.
    fn terms(&self, text: &str) -> Vec<Term<'_>> {
        let tokens = tokens(text);
        let mut terms: Vec<Term<'_>> = Vec::new();
        let mut compared = 0;
        let mut at = 0;
        while at < tokens.len() {
            let token = &tokens[at];
            if at > 0 && token.is_ending {
                if let Some(term) = terms.last_mut() {
                    term.at.end = token.at.end;
                }
                at += 1;
                continue;
            }
            let is_after_sku = matches!(terms.last(), Some(Term { kind: Kind::Sku(_), .. }));
            let sku = self.sku_at(text, &tokens, at, is_after_sku);
            let (end, kind) = sku
                .or_else(|| self.code_at(&tokens, at))
                .unwrap_or_else(|| self.plain_at(text, &tokens, at, &mut compared));
            terms.push(Term {
                kind,
                at: token.at.start..tokens[end - 1].at.end,
                gap: token.gap,
            });
            at = end;
        }
        terms
    }

    /// The longest SKU that begins with a token, and where it ends.
    fn sku_at(&self, text: &str, tokens: &[Token], at: usize, is_after_sku: bool) -> Option<(usize, Kind<'_>)> {
        let is_named = at > 0 && tokens[at].gap <= Gap::Soft && tokens[at - 1].class == Some(Class::Cue);
        let begins_apart = tokens[at].gap >= Gap::Space
            || tokens[at].gap == Gap::Joined && (is_named || is_after_sku || is_apart(tokens, at - 1));
        if !begins_apart {
            return None;
        }
        let mut key = String::new();
        let mut found = None;
        for end in at + 1..=tokens.len() {
            let token = &tokens[end - 1];
            if end - 1 > at {
                let before = &tokens[end - 2];
                let is_phrase = token.gap == Gap::Space && (token.class.is_some() || before.class.is_some());
                if token.gap > Gap::Space || is_phrase && !is_named {
                    break;
                }
                if token.is_number && before.is_number {
                    key.push('-');
                }
            }
            key.push_str(&token.word);
            if key.len() > self.longest_sku {
                break;
            }
            if let Some(products) = self.skus.get(&key)
                && self.ends_apart(tokens, end)
                && (is_named || is_unlike_prose(text, tokens, at..end))
            {
                found = Some((end, products));
            }
        }
        let (end, products) = found?;
        let said = text[tokens[at].at.start..tokens[end - 1].at.end].to_lowercase();
        let exact = products
            .iter()
            .filter(|product| self.products[**product as usize].sku.to_lowercase() == said);
        let exact: Vec<u32> = exact.copied().collect();
        let set = if exact.len() == 1 {
            Cow::Owned(exact)
        } else {
            Cow::Borrowed(&products[..])
        };
        Some((end, Kind::Sku(set)))
    }

    /// Whether a SKU may end before the token at `end`.
    fn ends_apart(&self, tokens: &[Token], end: usize) -> bool {
        let Some(next) = tokens.get(end) else { return true };
        let begins_sku = || {
            let ends = end + 1..=tokens.len().min(end + 6);
            ends.map(|to| sku_key(&tokens[end..to]))
                .any(|key| self.skus.contains_key(&key))
        };
        match next.gap {
            Gap::Glued => false,
            Gap::Joined => next.is_ending || !next.is_dashed && (is_apart(tokens, end) || begins_sku()),
            _ => true,
        }
    }

    /// The longest word of names that has letters and digits, e.g. "A54" or "128 GB", and where it ends.
    fn code_at(&self, tokens: &[Token], at: usize) -> Option<(usize, Kind<'_>)> {
        if tokens[at].gap == Gap::Glued {
            return None;
        }
        let mut key = String::new();
        let mut found = None;
        for (end, token) in (at + 1..).zip(&tokens[at..]).take(8) {
            if token.class == Some(Class::Unit) {
                break;
            }
            if end - 1 > at {
                let before = &tokens[end - 2];
                if token.gap > Gap::Space || token.gap == Gap::Space && (token.is_prose() || before.is_prose()) {
                    break;
                }
                match (before.is_number, token.is_number) {
                    (true, true) if token.gap == Gap::Joined && !token.is_dashed => key.push('.'),
                    (true, true) | (false, false) => break,
                    _ => {}
                }
            }
            key.push_str(&token.word);
            let is_code = end - at > 1 && key.contains(|char: char| !char.is_ascii_digit() && char != '.');
            let is_whole = tokens.get(end).is_none_or(|next| next.gap != Gap::Glued);
            if is_code
                && is_whole
                && let Some(word) = self.words.get(&key)
            {
                found = Some((end, Kind::any(vec![*word])));
            }
        }
        found
    }

    /// What a token is that neither a SKU nor a code begins with, and where it ends.
    fn plain_at(&self, text: &str, tokens: &[Token], at: usize, compared: &mut usize) -> (usize, Kind<'_>) {
        let token = &tokens[at];
        if token.gap != Gap::Glued {
            let glued = tokens[at + 1..]
                .iter()
                .take_while(|next| next.gap == Gap::Glued)
                .count();
            let run = &tokens[at..=at + glued];
            let is_loose = |token: &Token| {
                let is_unit = matches!(token.class, Some(Class::Unit | Class::Times | Class::Money));
                token.is_number || is_unit || token.word.len() > CODE_LETTERS
            };
            if glued > 0 && !run.iter().all(is_loose) {
                return (at + glued + 1, Kind::Stranger(Stranger::Variant));
            }
        }
        if token.is_number {
            return self.number_at(text, tokens, at);
        }
        let is_beside_number = || {
            let before = at
                .checked_sub(1)
                .map(|before| &tokens[before])
                .filter(|_| token.gap < Gap::Hard);
            let after = tokens.get(at + 1).filter(|after| after.gap < Gap::Hard);
            [before, after]
                .into_iter()
                .flatten()
                .any(|beside| beside.is_number || beside.count().is_some())
        };
        let kind = match token.class {
            Some(Class::Times) if is_beside_number() => Kind::Times,
            Some(Class::Times) if token.word == "ori" => Kind::And,
            Some(Class::Unit) => Kind::Unit,
            Some(Class::Of) => Kind::Of,
            Some(Class::And) => Kind::And,
            Some(Class::For) => Kind::For,
            Some(Class::Filler | Class::Cue | Class::Money) => Kind::Filler,
            Some(Class::Number(count)) => {
                let word = self.words.get(&stem(&token.word)).copied();
                Kind::Number {
                    value: Some(count.into()),
                    word,
                    is_new: token.word == "noua",
                }
            }
            Some(Class::Times | Class::Measure) | None => return self.word_at(tokens, at, compared),
        };
        (at + 1, kind)
    }

    /// What a number is, and where it ends.
    fn number_at(&self, text: &str, tokens: &[Token], at: usize) -> (usize, Kind<'_>) {
        let mut end = at + 1;
        while tokens
            .get(end)
            .is_some_and(|next| next.is_number && next.gap == Gap::Joined)
        {
            end += 1;
        }
        let run = &tokens[at..end];
        let next = tokens.get(end).filter(|next| next.gap <= Gap::Space);
        let after = text[run[run.len() - 1].at.end..].trim_start();
        if next.is_some_and(|next| next.class == Some(Class::Money)) || after.starts_with(['%', '€', '$', '£']) {
            return (end, Kind::Filler);
        }
        let key = run
            .iter()
            .map(|token| token.word.as_str())
            .collect::<Vec<_>>()
            .join(".");
        match next.and_then(|next| next.class) {
            Some(Class::Measure) if INCHES.contains(&tokens[end].word.as_str()) => {
                let word = self.words.get(&key).copied();
                (
                    end + 1,
                    Kind::Number {
                        value: None,
                        word,
                        is_new: false,
                    },
                )
            }
            Some(Class::Measure) => (end + 1, Kind::Stranger(Stranger::Variant)),
            unit => {
                let key = if unit == Some(Class::Unit) {
                    format!("{key}buc")
                } else {
                    key
                };
                let value = is_positive(text, run[0].at.start)
                    .then(|| value(&text[run[0].at.start..run[run.len() - 1].at.end], run))
                    .flatten();
                (
                    end,
                    Kind::Number {
                        value,
                        word: self.words.get(&key).copied(),
                        is_new: false,
                    },
                )
            }
        }
    }

    /// Which words of names a word may be.
    fn word_at(&self, tokens: &[Token], at: usize, compared: &mut usize) -> (usize, Kind<'_>) {
        let token = &tokens[at];
        let key = stem(&token.word);
        if let Some(word) = self.words.get(&key) {
            return (at + 1, Kind::any(vec![*word]));
        }
        // "tastaturi" is of "tastatură", and "birouri" of "birou".
        let singular = ["i", "ile", "ilor"]
            .iter()
            .filter_map(|ending| token.word.strip_suffix(ending));
        if let Some(word) = singular
            .filter(|left| left.ends_with("ur"))
            .find_map(|left| self.words.get(left))
        {
            return (at + 1, Kind::any(vec![*word]));
        }
        if let Some(pair) = self.pairs.get(&key) {
            return (
                at + 1,
                Kind::Words {
                    words: pair.to_vec(),
                    is_pair: true,
                },
            );
        }
        // "power bank", and the name has "powerbank".
        if let Some(next) = tokens.get(at + 1)
            && matches!(next.gap, Gap::Joined | Gap::Space)
            && next.class.is_none()
            && !next.is_number
            && let Some(word) = self.words.get(&stem(&format!("{}{}", token.word, next.word)))
        {
            return (at + 2, Kind::any(vec![*word]));
        }
        let words = self.typos.words_like(&token.word, &key, compared);
        if words.is_empty() {
            let stranger = if VARIANTS.contains(&token.word.as_str()) {
                Stranger::Variant
            } else if TRAITS.contains(&key.as_str()) {
                Stranger::Trait
            } else {
                Stranger::Any
            };
            return (at + 1, Kind::Stranger(stranger));
        }
        (at + 1, Kind::any(words))
    }

    /// Whether a product's name has the word, or one of those that it may be.
    fn has(&self, product: u32, words: &[u32], is_pair: bool) -> bool {
        let name = self.names.get(product);
        let has = |word: &u32| name.contains(word);
        if is_pair {
            words.iter().all(has)
        } else {
            words.iter().any(has)
        }
    }

    /// The products that have the word, or one of those that it may be.
    fn having(&self, words: &[u32], is_pair: bool) -> Cow<'_, [u32]> {
        if let [word] = words {
            return Cow::Borrowed(self.postings.get(*word));
        }
        let postings = words.iter().flat_map(|word| self.postings.get(*word));
        let mut products: Vec<u32> = postings.copied().collect();
        products.sort_unstable();
        products.dedup();
        products.retain(|product| self.has(*product, words, is_pair));
        Cow::Owned(products)
    }

    /// Whether so many products are too many to be meant.
    fn is_common(&self, products: usize) -> bool {
        products > MOST_CANDIDATES && products * 10 > self.products.len()
    }
}
