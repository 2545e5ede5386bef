//! Reading a text from its start to its end.

use std::borrow::Cow;
use std::ops::Range;

use rust_decimal::Decimal;

use super::tokens::Gap;
use super::{Catalogue, MOST_CANDIDATES, MOST_MENTIONS, MOST_STEPS, WIDEST_GAP, Word};

/// A part of a text.
#[derive(Debug)]
pub(super) struct Term<'c> {
    pub(super) kind: Kind<'c>,
    pub(super) at: Range<usize>,
    /// What is between it and the one before.
    pub(super) gap: Gap,
}

/// What a part of a text may be.
#[derive(Debug)]
pub(super) enum Kind<'c> {
    /// A SKU of these products.
    Sku(Cow<'c, [u32]>),
    /// One of these words of names, or both of a pair.
    Words { words: Vec<u32>, is_pair: bool },
    /// A number; `value` if it may be a quantity, `word` if names have it, `is_new` if it is "noua", which is new, too.
    Number {
        value: Option<Decimal>,
        word: Option<u32>,
        is_new: bool,
    },
    /// "bucăți"
    Unit,
    /// "x"
    Times,
    /// "de"
    Of,
    /// "și"
    And,
    /// "pentru"
    For,
    /// A word that says nothing of products.
    Filler,
    /// A word that no name has.
    Stranger(Stranger),
}

/// What kind of word it is that no name has; the worse, the more likely is another product meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stranger {
    Any,
    /// A colour, a size.
    Trait,
    /// One that tells products apart: "A54", "Pro".
    Variant,
}

impl Kind<'_> {
    pub(super) fn any(words: Vec<u32>) -> Self {
        Self::Words { words, is_pair: false }
    }
}

/// Reads terms into what is found.
pub(super) struct Reader<'c, 't> {
    pub(super) catalogue: &'c Catalogue,
    pub(super) terms: &'t [Term<'c>],
    /// Parts of what is being read. Of several, no product has the words of two that follow each other.
    pub(super) parts: Vec<Part<'t>>,
    pub(super) found: Vec<Found>,
    /// How many terms have passed since the last word of the last part.
    pub(super) passed: usize,
    /// Whether one of them keeps what follows from being about the last part.
    pub(super) is_apart: bool,
    /// Whether there was a comma or a word like "și".
    pub(super) is_listing: bool,
    /// Whether there was a word like "pentru".
    pub(super) is_complement: bool,
    pub(super) steps: usize,
}

/// Words that some products have all of.
#[derive(Debug)]
pub(super) struct Part<'t> {
    pub(super) first: usize,
    pub(super) last: usize,
    /// The products.
    pub(super) set: Cow<'t, [u32]>,
    pub(super) words: Vec<u32>,
    /// How many words of a name they are.
    pub(super) count: usize,
    pub(super) has_sku: bool,
    /// Whether they say what a thing is, not only what it is like.
    pub(super) is_solid: bool,
    /// Whether they say which one it is: "A54".
    pub(super) has_code: bool,
    /// The worst word with them that no such product has.
    pub(super) doubt: Option<Stranger>,
}

/// Products that are found, best first, and the terms that they are found by.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) products: Vec<u32>,
}

impl<'c, 't> Reader<'c, 't> {
    pub(super) fn new(catalogue: &'c Catalogue, terms: &'t [Term<'c>]) -> Self {
        Self {
            catalogue,
            terms,
            parts: Vec::new(),
            found: Vec::new(),
            passed: 0,
            is_apart: false,
            is_listing: false,
            is_complement: false,
            steps: 0,
        }
    }

    pub(super) fn read(&mut self) {
        let terms = self.terms;
        for (at, term) in terms.iter().enumerate() {
            if self.found.len() >= MOST_MENTIONS {
                return;
            }
            match term.gap {
                Gap::Hard => self.finish(),
                Gap::Soft => self.list(),
                _ => {}
            }
            match &term.kind {
                Kind::Sku(set) => self.sku(at, set),
                Kind::Words { .. } | Kind::Number { .. } if self.steps > MOST_STEPS => self.finish(),
                Kind::Words { words, is_pair } => self.word(at, words, *is_pair),
                Kind::Number { word, .. } => self.number(at, *word),
                Kind::Stranger(stranger) => self.stranger(*stranger),
                Kind::Of => self.pass(self.is_apart),
                Kind::And => {
                    self.list();
                    self.pass(true);
                }
                Kind::For => {
                    self.is_complement = true;
                    self.pass(true);
                }
                Kind::Unit | Kind::Times | Kind::Filler => self.pass(true),
            }
        }
        self.finish();
    }

    pub(super) fn list(&mut self) {
        self.is_listing = true;
        self.is_complement = false;
    }

    pub(super) fn pass(&mut self, is_apart: bool) {
        self.passed += 1;
        self.is_apart = is_apart;
        if self.passed > WIDEST_GAP {
            self.finish();
        }
    }

    /// What comes next is side by side with the last part.
    pub(super) fn stay(&mut self) {
        (self.passed, self.is_apart, self.is_listing, self.is_complement) = (0, false, false, false);
    }

    pub(super) fn stranger(&mut self, stranger: Stranger) {
        if !self.is_apart && !self.is_listing {
            self.doubt(stranger);
        }
        self.pass(self.is_apart);
    }

    pub(super) fn number(&mut self, at: usize, word: Option<u32>) {
        let kind_at = |at: usize| {
            self.terms
                .get(at)
                .filter(|term| term.gap <= Gap::Space)
                .map(|term| &term.kind)
        };
        let is_next = self.passed < 2 && !self.is_apart && !self.is_listing && self.terms[at].gap <= Gap::Space;
        if let Some(word) = word.filter(|_| is_next)
            && let Some(part) = self.parts.last().filter(|part| !part.words.contains(&word))
        {
            let narrowed = narrow(self.catalogue, &part.set, &[word], false, &mut self.steps);
            if !narrowed.is_empty() {
                self.extend(at, &[word], 1, narrowed);
                return;
            }
        }
        let is_counting = matches!(kind_at(at + 1), Some(Kind::Unit | Kind::Times))
            || at > 0 && matches!(self.terms[at - 1].kind, Kind::Times);
        if is_counting {
            self.list();
        } else {
            let is_before_name = matches!(kind_at(at + 1), Some(Kind::Words { .. } | Kind::Sku(_)));
            self.stranger(Stranger::Any);
            if is_before_name {
                self.list();
            }
        }
        self.pass(true);
    }

    pub(super) fn word(&mut self, at: usize, words: &[u32], is_pair: bool) {
        let like = words.iter().map(|word| self.catalogue.traits[*word as usize]);
        let like = like.reduce(Word::either).unwrap_or_default();
        let Some(part) = self.parts.last_mut() else {
            return self.begin(at, words, is_pair, like);
        };
        if words.iter().any(|word| part.words.contains(word)) {
            if like.is_head {
                self.finish();
                return self.begin(at, words, is_pair, like);
            }
            part.last = at;
            return self.stay();
        }
        let narrowed = narrow(self.catalogue, &part.set, words, is_pair, &mut self.steps);
        let count = if is_pair { 2 } else { 1 };
        let is_complete = |product: &u32| self.catalogue.names.get(*product).len() == part.count + count;
        let is_one_thing = !self.is_listing || !like.is_head || narrowed.iter().any(is_complete);
        if !narrowed.is_empty() && is_one_thing {
            self.extend(at, words, count, narrowed);
            self.liken(like);
        } else if like.is_trait {
            self.doubt(Stranger::Trait);
            self.pass(self.is_apart);
        } else if self.is_listing || part.has_sku {
            self.finish();
            self.begin(at, words, is_pair, like);
        } else if self.is_complement {
            self.pass(true);
        } else if !part.is_solid {
            self.parts.pop();
            self.begin(at, words, is_pair, like);
            self.doubt(Stranger::Trait);
        } else {
            if self.is_apart {
                self.finish();
            }
            self.begin(at, words, is_pair, like);
        }
    }

    pub(super) fn sku(&mut self, at: usize, set: &'t [u32]) {
        if let Some(part) = self.parts.last().filter(|part| !part.has_sku) {
            let both: Vec<u32> = set
                .iter()
                .filter(|product| part.set.contains(product))
                .copied()
                .collect();
            if !both.is_empty() {
                self.extend(at, &[], 0, both);
                if let Some(part) = self.parts.last_mut() {
                    part.has_sku = true;
                }
                return;
            }
            if !self.is_apart && !self.is_listing {
                self.doubt(Stranger::Any);
            }
        }
        self.finish();
        self.part(at, Cow::Borrowed(set), &[], 0);
        if let Some(part) = self.parts.last_mut() {
            (part.has_sku, part.is_solid) = (true, true);
        }
    }

    pub(super) fn doubt(&mut self, stranger: Stranger) {
        if let Some(part) = self.parts.last_mut() {
            part.doubt = part.doubt.max(Some(stranger));
        }
    }

    pub(super) fn begin(&mut self, at: usize, words: &[u32], is_pair: bool, like: Word) {
        let set = self.catalogue.having(words, is_pair);
        self.steps += if words.len() > 1 { set.len() } else { 1 };
        self.part(at, set, words, if is_pair { 2 } else { 1 });
        self.liken(like);
    }

    /// The last part has such a word. A code says which product it is, whatever else is said, if that is no colour.
    pub(super) fn liken(&mut self, like: Word) {
        if let Some(part) = self.parts.last_mut() {
            part.is_solid |= !like.is_trait;
            part.has_code |= like.is_code;
            part.doubt = part.doubt.filter(|doubt| !like.is_code || *doubt > Stranger::Any);
        }
    }

    pub(super) fn part(&mut self, at: usize, set: Cow<'t, [u32]>, words: &[u32], count: usize)
    where
        'c: 't,
    {
        let (first, last, words) = (at, at, words.to_vec());
        let (has_sku, is_solid, has_code, doubt) = (false, false, false, None);
        self.parts.push(Part {
            first,
            last,
            set,
            words,
            count,
            has_sku,
            is_solid,
            has_code,
            doubt,
        });
        self.stay();
    }

    /// The last part has the words, too, and these products are left.
    pub(super) fn extend(&mut self, at: usize, words: &[u32], count: usize, set: Vec<u32>) {
        if let Some(part) = self.parts.last_mut() {
            part.last = at;
            part.words.extend_from_slice(words);
            part.count += count;
            part.set = Cow::Owned(set);
        }
        self.stay();
    }

    /// Says what the parts mean.
    pub(super) fn finish(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        self.stay();
        if parts.len() < 2 || parts.iter().all(|part| part.count > 1) {
            for part in parts {
                self.steps += part.set.len();
                let products = self.meant(&part);
                if !products.is_empty() {
                    self.found.push(Found {
                        first: part.first,
                        last: part.last,
                        products,
                    });
                }
            }
            return;
        }
        let all = parts.iter().map(|part| part.set.len()).sum();
        self.steps += all;
        if self.catalogue.is_common(all) {
            return;
        }
        let ranked: Vec<Vec<u32>> = parts.iter().map(|part| self.best(&part.set)).collect();
        let mut products = Vec::new();
        for rank in 0..MOST_CANDIDATES {
            for product in ranked.iter().filter_map(|ranked| ranked.get(rank)) {
                if products.len() < MOST_CANDIDATES && !products.contains(product) {
                    products.push(*product);
                }
            }
        }
        let (first, last) = (parts[0].first, parts[parts.len() - 1].last);
        self.found.push(Found { first, last, products });
    }

    /// The products that are meant by one part; none if it says too little.
    pub(super) fn meant(&self, part: &Part<'_>) -> Vec<u32> {
        if part.has_sku {
            return self.best(&part.set);
        }
        if !part.is_solid || self.catalogue.is_common(part.set.len()) {
            return Vec::new();
        }
        let is_complete = |product: &&u32| self.catalogue.names.get(**product).len() == part.count;
        let complete: Vec<u32> = part.set.iter().filter(is_complete).copied().collect();
        if !complete.is_empty() && part.count > 1 && part.doubt.is_none() {
            return self.best(&complete);
        }
        // "asus laptop", "black iPhone 15"
        let before = part
            .first
            .checked_sub(1)
            .filter(|_| self.terms[part.first].gap <= Gap::Space);
        let is_after_stranger = match before.map(|before| &self.terms[before].kind) {
            Some(Kind::Stranger(stranger)) => part.count == 1 && !part.has_code || *stranger == Stranger::Trait,
            _ => false,
        };
        let is_doubtful = if complete.is_empty() {
            part.doubt.is_some() || is_after_stranger
        } else {
            part.doubt == Some(Stranger::Variant)
        };
        if part.set.len() == 1 && is_doubtful {
            return Vec::new();
        }
        self.best(&part.set)
    }

    /// Those with the fewest other words, in the catalogue's order.
    pub(super) fn best(&self, products: &[u32]) -> Vec<u32> {
        let mut ranked: Vec<(usize, u32)> = products
            .iter()
            .map(|product| (self.catalogue.names.get(*product).len(), *product))
            .collect();
        if ranked.len() > MOST_CANDIDATES {
            ranked.select_nth_unstable(MOST_CANDIDATES);
            ranked.truncate(MOST_CANDIDATES);
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, product)| product).collect()
    }
}

/// Those of the products that have the word, or one of those that it may be. Counts what it looks at.
pub(super) fn narrow(catalogue: &Catalogue, set: &[u32], words: &[u32], is_pair: bool, steps: &mut usize) -> Vec<u32> {
    if let [word] = words
        && let posting = catalogue.postings.get(*word)
        && posting.len() < set.len()
    {
        *steps += posting.len();
        return posting
            .iter()
            .filter(|product| set.binary_search(product).is_ok())
            .copied()
            .collect();
    }
    *steps += set.len();
    set.iter()
        .filter(|product| catalogue.has(**product, words, is_pair))
        .copied()
        .collect()
}
