//! The list of contacts, rendered once.
//!
//! Every row follows from its number alone, so two servers with the same options list the same account, and a figure
//! measured today can be measured again.

use std::fmt::Write as _;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use clap::ValueEnum;

const GIVEN: [&str; 16] = [
    "Andrei",
    "Ioana",
    "Ștefan",
    "Maria",
    "Mihai",
    "Elena",
    "Răzvan",
    "Cătălina",
    "Ion",
    "Gabriela",
    "Sorin",
    "Mădălina",
    "Bogdan",
    "Zoltán",
    "Emma",
    "Ana-Maria",
];
const FAMILY: [&str; 16] = [
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
    "Moldovan",
    "Câmpeanu",
    "Szabó",
    "Smith",
    "Müller",
    "Ene",
];
const TOWNS: [&str; 8] = [
    "București",
    "Cluj-Napoca",
    "Timișoara",
    "Iași",
    "Constanța",
    "Craiova",
    "Brașov",
    "Oradea",
];
const TAGS: [&str; 6] = [
    r#""lead""#,
    r#""lead","interested-product-x""#,
    r#""customer","newsletter""#,
    r#""lead","qualified","interested-product-y""#,
    "",
    r#""customer""#,
];
const SOURCES: [&str; 4] = ["website", "whatsapp", "messenger", "mobile_app"];
const INDUSTRIES: [&str; 5] = ["retail", "horeca", "software", "construcții", "agricultură"];

/// 2023-01-01, when the first contact was created.
const FIRST_CREATED: i64 = 1_672_531_200;
/// Seconds between two contacts.
const APART: u32 = 37;

/// The order of the list.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Newest first.
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
}

/// How ids relate to the time of creation.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// They count up.
    Sequential,
    /// They are scattered, as random ones are: each insert meets another corner of the index.
    Scattered,
}

/// The rows in the order of the list, each followed by a comma.
pub(crate) struct Contacts {
    rendered: Bytes,
    /// Where each row begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Contacts {
    /// Renders `rows` contacts.
    pub(crate) fn render(rows: u32, order: Order, ids: Ids) -> Self {
        let mut out = String::with_capacity(rows as usize * 460);
        let mut starts = Vec::with_capacity(rows as usize + 1);
        for place in 0..=rows {
            starts.push(out.len());
            if place < rows {
                let number = match order {
                    Order::CreatedAsc => place,
                    Order::CreatedDesc => rows - 1 - place,
                };
                // Writing to a string does not fail.
                let _ = write_row(&mut out, number, ids);
                out.push(',');
            }
        }
        Self {
            rendered: Bytes::from(out),
            starts,
        }
    }

    /// A page as the API answers it, and how many rows it has.
    pub(crate) fn page(&self, offset: usize, limit: usize) -> (Bytes, usize) {
        let total = self.starts.len() - 1;
        let from = offset.min(total);
        let to = offset.saturating_add(limit).min(total);
        let rows = &self.rendered[self.starts[from]..self.starts[to]];
        let rows = rows.strip_suffix(b",").unwrap_or(rows);
        let tail = format!(r#"],"total":{total},"has_more":{}}}"#, to < total);
        let mut body = Vec::with_capacity(rows.len() + tail.len() + 16);
        body.extend_from_slice(br#"{"data":["#);
        body.extend_from_slice(rows);
        body.extend_from_slice(tail.as_bytes());
        (Bytes::from(body), to - from)
    }

    /// The average size of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.rendered.len() / (self.starts.len() - 1).max(1)
    }
}

fn write_row(out: &mut String, number: u32, ids: Ids) -> std::fmt::Result {
    // What varies is drawn from the number's hash, and not from its digits, so that neighbours do not resemble each other.
    let mut dice = u64::from(number);
    let mut pick = |sides: usize| {
        dice = scattered(dice);
        usize::try_from(dice % sides as u64).unwrap_or_default()
    };
    let (given, family) = (GIVEN[pick(GIVEN.len())], FAMILY[pick(FAMILY.len())]);
    let id = match ids {
        Ids::Sequential => u64::from(number),
        Ids::Scattered => scattered(u64::from(number)),
    };
    let created = i64::from(number) * i64::from(APART);
    let touched = created + i64::try_from(pick(2_000_000)).unwrap_or_default();
    write!(
        out,
        r#"{{"id":"con_{id:016x}","name":"{given} {family}","email":"contact{number}@{}.example.ro","#,
        INDUSTRIES[pick(3)],
    )?;
    write!(
        out,
        r#""phone":"+407{:08}","tags":[{}],"custom_fields":{{"company":"{family} {} SRL","industry":"{}","#,
        pick(100_000_000),
        TAGS[pick(TAGS.len())],
        TOWNS[pick(TOWNS.len())],
        INDUSTRIES[pick(INDUSTRIES.len())],
    )?;
    write!(
        out,
        r#""city":"{}","source":"{}","employees":{},"budget":{}.{:02},"newsletter":{}}},"#,
        TOWNS[pick(TOWNS.len())],
        SOURCES[pick(SOURCES.len())],
        1 + pick(500),
        pick(90_000),
        pick(100),
        pick(2) == 0,
    )?;
    write!(
        out,
        r#""created_at":"{}","updated_at":"{}"}}"#,
        time(created),
        time(touched)
    )
}

fn time(seconds: i64) -> String {
    let at = DateTime::from_timestamp(FIRST_CREATED, 0).unwrap_or_default() + TimeDelta::seconds(seconds);
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A permutation of the 64-bit numbers that leaves no trace of their order (`SplitMix64`'s finalizer,
/// <https://prng.di.unimi.it/splitmix64.c>).
const fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
