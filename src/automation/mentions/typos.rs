//! Words that are one or two letters apart.

use std::collections::HashMap;

use super::{LONGEST_TYPO, MOST_COMPARED, TYPO_PREFIX};

/// Finds the words that are a typo or two away.
#[derive(Debug)]
pub(super) struct Typos {
    /// Words of names as they are spelt and as their stems, each with the word that it is.
    pub(super) spellings: Vec<(String, u32)>,
    /// The hash of what is left of a spelling without some letters, and the spelling; sorted.
    pub(super) remains: Vec<(u32, u32)>,
    /// Where in `remains` those begin whose hash begins with these bits.
    pub(super) starts: Vec<u32>,
    pub(super) shift: u32,
}

impl Typos {
    pub(super) fn new(spellings: HashMap<String, u32>) -> Self {
        let may_have_typos = |word: &String| word.is_ascii() && (5..=LONGEST_TYPO).contains(&word.len());
        let mut spellings: Vec<_> = spellings
            .into_iter()
            .filter(|(spelling, _)| may_have_typos(spelling))
            .collect();
        spellings.sort_unstable();
        let mut remains = Vec::new();
        for (at, (spelling, _)) in spellings.iter().enumerate() {
            without_letters(spelling, if spelling.len() < 9 { 1 } else { 2 }, |hash| {
                remains.push((hash, id(at)));
            });
        }
        remains.sort_unstable();
        remains.dedup();
        let bits = remains.len().max(2).ilog2();
        let shift = u32::BITS - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for (hash, _) in &remains {
            starts[(hash >> shift) as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self {
            spellings,
            remains,
            starts,
            shift,
        }
    }

    /// The words that are the fewest typos away from a word or its stem. Counts what it compares.
    pub(super) fn words_like(&self, word: &str, stem: &str, compared: &mut usize) -> Vec<u32> {
        let mut nearest = (usize::MAX, Vec::new());
        let forms = if word == stem { &[word][..] } else { &[word, stem] };
        for form in forms {
            if *compared > MOST_COMPARED || !form.is_ascii() || !(5..=LONGEST_TYPO).contains(&form.len()) {
                continue;
            }
            let mut near: Vec<u32> = Vec::new();
            without_letters(form, if form.len() < 7 { 1 } else { 2 }, |hash| {
                near.extend(self.with_remains(hash));
            });
            near.sort_unstable();
            near.dedup();
            *compared += near.len();
            for (spelling, word) in near.into_iter().map(|at| &self.spellings[at as usize]) {
                let most = if spelling.len() < 9 { 1 } else { 2 };
                // A phone is no iPhone.
                let is_beheaded = spelling.ends_with(form) || form.ends_with(spelling.as_str());
                if is_beheaded || spelling.len().abs_diff(form.len()) > most {
                    continue;
                }
                let typos = strsim::osa_distance(form, spelling);
                if typos < nearest.0 && typos <= most {
                    nearest = (typos, vec![*word]);
                } else if typos == nearest.0 && !nearest.1.contains(word) {
                    nearest.1.push(*word);
                }
            }
        }
        nearest.1
    }

    pub(super) fn with_remains(&self, hash: u32) -> impl Iterator<Item = u32> {
        let bucket = (hash >> self.shift) as usize;
        let remains = &self.remains[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        remains
            .iter()
            .filter(move |(other, _)| *other == hash)
            .map(|(_, spelling)| *spelling)
    }
}

/// Hashes the beginning of a word, and what is left of it without one letter, or two.
pub(super) fn without_letters(word: &str, most: usize, mut each: impl FnMut(u32)) {
    let letters = &word.as_bytes()[..word.len().min(TYPO_PREFIX)];
    let hash = |without: [usize; 2]| {
        let left = letters.iter().enumerate().filter(|(at, _)| !without.contains(at));
        // FNV-1a, with the high bits mixed, since they choose the bucket.
        let hash = left.fold(0x811c_9dc5_u32, |hash, (_, letter)| {
            (hash ^ u32::from(*letter)).wrapping_mul(0x0100_0193)
        });
        (hash ^ hash >> 15).wrapping_mul(0x85eb_ca6b)
    };
    each(hash([usize::MAX; 2]));
    for first in 0..letters.len() {
        each(hash([first, usize::MAX]));
        if most > 1 {
            (first + 1..letters.len()).for_each(|second| each(hash([first, second])));
        }
    }
}

/// Lists of numbers, one after the other.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) starts: Vec<u32>,
    pub(super) items: Vec<u32>,
}

impl Lists {
    pub(super) fn new(lists: &[Vec<u32>]) -> Self {
        let items = lists.concat();
        let ends = lists.iter().scan(0, |end, list| {
            *end += list.len();
            Some(id(*end))
        });
        Self {
            starts: std::iter::once(0).chain(ends).collect(),
            items,
        }
    }

    pub(super) fn get(&self, at: u32) -> &[u32] {
        let at = at as usize;
        &self.items[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

pub(super) fn id(at: usize) -> u32 {
    u32::try_from(at).expect("a catalogue is small")
}
