//! The members of a JSON object, taken one by one; what nobody takes is left for `extra`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ContentHash, Json, canonical, timestamp};

/// The members of one object. Of two with the same name the last counts, as in JavaScript.
pub(crate) struct Members<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: Cow<'a, str>,
    value: &'a RawValue,
    taken: bool,
}

/// What a JSON value is, told from its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    pub(super) fn of(raw: &RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'"') => Self::Text,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number,
        }
    }
}

impl<'a> Members<'a> {
    /// `None` if `raw` is not an object, or a member's name is not valid Unicode.
    pub(crate) fn parse(raw: &'a RawValue) -> Option<Self> {
        if Kind::of(raw) != Kind::Object {
            return None;
        }
        let entries = serde_json::from_str::<Entries<'a>>(raw.get()).ok()?.0;
        Some(Self::unique(entries))
    }

    /// The members of an object that was read already.
    pub(crate) fn of(members: Vec<(Cow<'a, str>, &'a RawValue)>) -> Self {
        let entry = |(name, value)| Entry {
            name,
            value,
            taken: false,
        };
        Self::unique(members.into_iter().map(entry).collect())
    }

    fn unique(mut entries: Vec<Entry<'a>>) -> Self {
        if !all_differ(&entries) {
            let mut seen = HashSet::with_capacity(entries.len());
            entries.reverse();
            entries.retain(|entry| seen.insert(entry.name.clone()));
            entries.reverse();
        }
        Self { entries }
    }

    /// The member of this name, without taking it.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(entry.value)
    }

    /// The members but these, none of them taken.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let others = self.entries.iter().filter(|entry| !names.contains(&&*entry.name));
        let entry = |entry: &Entry<'a>| Entry {
            name: entry.name.clone(),
            value: entry.value,
            taken: false,
        };
        Self {
            entries: others.map(entry).collect(),
        }
    }

    /// The fingerprint of all of them, in whatever order and however spaced.
    pub(crate) fn content_hash(&self) -> ContentHash {
        canonical::hash_of(self)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All members, in the server's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.value))
    }

    /// Reads a member and takes it if all of it fits the column: `read` returns the column's value, and whether that
    /// says everything the member said.
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&'a RawValue) -> (Option<T>, bool)) -> Option<T> {
        let entry = self.entries.iter_mut().find(|entry| entry.name == name)?;
        if Kind::of(entry.value) == Kind::Null {
            entry.taken = true;
            return None;
        }
        let (value, whole) = read(entry.value);
        entry.taken = whole;
        value
    }

    /// A text column. Numbers and booleans give their text, and stay in `extra` as what they are.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, |raw| {
            let text = text(raw);
            let whole = Kind::of(raw) == Kind::Text && text.is_some();
            (text, whole)
        })
    }

    /// The row's own id: a text that is not blank, or a whole number.
    pub(crate) fn id(&mut self) -> Result<String, &'static str> {
        let Some(raw) = self.get("id") else {
            return Err("it has no id");
        };
        let id = match Kind::of(raw) {
            Kind::Null => return Err("its id is null"),
            Kind::Text => text(raw).ok_or("its id is not valid Unicode")?,
            Kind::Number if raw.get().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => raw.get().to_owned(),
            _ => return Err("its id is neither a text nor a whole number"),
        };
        if id.trim().is_empty() {
            return Err("its id is empty");
        }
        self.read("id", |_| (Some(()), true));
        Ok(id)
    }

    /// A numeric column. A number written as text is read, and stays in `extra` as well.
    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        self.read(name, |raw| {
            let kind = Kind::of(raw);
            let number = match kind {
                Kind::Number | Kind::Text => text(raw).and_then(|text| finite(&text)),
                _ => None,
            };
            (number, kind == Kind::Number && number.is_some())
        })
    }

    /// A point in time, in any of the usual notations.
    pub(crate) fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.read(name, |raw| {
            let time = timestamp::read(raw);
            (time, time.is_some())
        })
    }

    /// A column that holds JSON of one kind.
    pub(super) fn json(&mut self, name: &str, kind: Kind) -> Option<Json> {
        self.read(name, |raw| {
            let fits = Kind::of(raw) == kind;
            (fits.then(|| canonical::compact(raw)), fits)
        })
    }

    /// Takes a member that says no more than what is known already.
    pub(crate) fn take_if_text(&mut self, name: &str, known: &str) {
        self.read(name, |raw| {
            let same = Kind::of(raw) == Kind::Text && text(raw).as_deref() == Some(known);
            (None::<()>, same)
        });
    }

    /// What nobody took, as one object; `None` if nothing is left.
    pub(crate) fn rest(self) -> Option<Json> {
        let rest: Vec<(&str, &RawValue)> = self
            .entries
            .iter()
            .filter(|entry| !entry.taken)
            .map(|entry| (&*entry.name, entry.value))
            .collect();
        if rest.is_empty() {
            return None;
        }
        Some(canonical::object(&rest))
    }
}

/// The text a scalar stands for: `"x"` → x, 17.50 → 17.50, true → true.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    match Kind::of(raw) {
        // Without escapes it is what stands between the quotes.
        Kind::Text if !raw.get().contains('\\') => raw.get().get(1..raw.get().len() - 1).map(str::to_owned),
        Kind::Text => serde_json::from_str(raw.get()).ok(),
        Kind::Number | Kind::Bool => Some(raw.get().to_owned()),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// Reads a decimal number as JSON writes it; `inf` and `NaN` are no figures.
pub(super) fn finite(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Whether no two members have the same name.
fn all_differ(entries: &[Entry<'_>]) -> bool {
    // Rows have a dozen members, which are compared sooner than hashed.
    if entries.len() > 24 {
        let mut seen = HashSet::with_capacity(entries.len());
        return entries.iter().all(|entry| seen.insert(&*entry.name));
    }
    let mut lengths = 0_u64;
    entries.iter().enumerate().all(|(at, entry)| {
        let length = 1 << (entry.name.len() & 63);
        let is_first_of_its_length = lengths & length == 0;
        lengths |= length;
        is_first_of_its_length || !entries[..at].iter().any(|before| before.name == entry.name)
    })
}

struct Entries<'a>(Vec<Entry<'a>>);

/// A member's name, borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(16);
                while let Some((Name(name), value)) = map.next_entry()? {
                    let taken = false;
                    entries.push(Entry { name, value, taken });
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
