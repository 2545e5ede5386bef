//! Rows that are odd, each in one way that real APIs have been seen to be.

use clap::ValueEnum;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::members::text;
use super::rows::Oddity;

/// A way in which a row can be odd.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddKind {
    /// A member is missing.
    Missing,
    /// A member is null.
    Null,
    /// A member has another type.
    OtherType,
    /// Members nobody has heard of.
    Unknown,
    /// The id is a number.
    NumericId,
    /// There is no usable id: missing, null, empty or an object.
    NoId,
    /// A NUL character in a text.
    Nul,
    /// Numbers no machine type holds.
    HugeNumber,
    /// A text of a megabyte.
    LongText,
    /// Half a surrogate pair in a text: JSON allows to write it, Unicode does not know it.
    LoneSurrogate,
    /// Arrays in arrays, 100 deep.
    Deep,
    /// A member twice, with two values.
    Twice,
    /// Timestamps in other forms.
    Time,
}

impl OddKind {
    const ALL: [Self; 13] = [
        Self::Missing,
        Self::Null,
        Self::OtherType,
        Self::Unknown,
        Self::NumericId,
        Self::NoId,
        Self::Nul,
        Self::HugeNumber,
        Self::LongText,
        Self::LoneSurrogate,
        Self::Deep,
        Self::Twice,
        Self::Time,
    ];
}

/// The members a kind of row has, by what can be done to them.
pub(super) struct Shape {
    pub(super) texts: &'static [&'static str],
    pub(super) structures: &'static [&'static str],
    pub(super) times: &'static [&'static str],
}

pub(super) const CONTACT: Shape = Shape {
    texts: &["name", "email", "phone", "language"],
    structures: &["tags", "custom_fields"],
    times: &["created_at", "updated_at"],
};

pub(super) const CONVERSATION: Shape = Shape {
    texts: &["channel", "resolution", "chatbot_id"],
    structures: &["metadata", "visitor"],
    times: &["created_at", "updated_at", "closed_at"],
};

pub(super) const MESSAGE: Shape = Shape {
    texts: &["content", "role", "type"],
    structures: &["sources", "confidence"],
    times: &["timestamp"],
};

/// Makes a row odd, with this chance. A numeric id is also written into `id`, by which the row is then known.
pub(super) fn perhaps(
    rng: &mut StdRng,
    chance: f64,
    kinds: &[OddKind],
    shape: &Shape,
    id: &mut String,
) -> Option<Box<Oddity>> {
    if chance <= 0.0 || !rng.random_bool(chance) {
        return None;
    }
    let kinds = if kinds.is_empty() { &OddKind::ALL[..] } else { kinds };
    let kind = kinds.choose(rng).copied()?;
    Some(Box::new(oddity(rng, kind, shape, id)))
}

fn oddity(rng: &mut StdRng, kind: OddKind, shape: &Shape, id: &mut String) -> Oddity {
    let mut odd = Oddity::default();
    let field = *shape.texts.choose(rng).unwrap_or(&"note");
    let nested = *shape.structures.choose(rng).unwrap_or(&"note");
    let member = if rng.random_bool(0.5) { field } else { nested };
    let when = *shape.times.choose(rng).unwrap_or(&"note");
    let mut set = |name: &str, json: String| odd.set.push((name.to_owned(), json));
    match kind {
        OddKind::Missing => odd.remove.push(member.to_owned()),
        OddKind::Null => set(member, "null".to_owned()),
        OddKind::OtherType => {
            let others = [
                "42",
                "true",
                "-0.50",
                "[]",
                "{}",
                "[1,\"două\",null]",
                "{\"value\":\"x\"}",
                "1e3",
            ];
            set(member, (*others.choose(rng).unwrap_or(&"42")).to_owned());
        }
        OddKind::Unknown => {
            set("lead_score", rng.random_range(0..100).to_string());
            set(
                "preferințe",
                "{\"newsletter\":true,\"ora\":1.10,\"note\":[\"ș\\/ț\",\"\\u0103\"]}".to_owned(),
            );
            set("", "\"the empty name\"".to_owned());
        }
        OddKind::NumericId => {
            *id = rng.random_range(1_u64 << 40..1 << 52).to_string();
            set("id", id.clone());
        }
        OddKind::NoId => match rng.random_range(0..4) {
            0 => odd.remove.push("id".to_owned()),
            1 => set("id", "null".to_owned()),
            2 => set("id", "\"\"".to_owned()),
            _ => set("id", "{\"$oid\":\"x\"}".to_owned()),
        },
        OddKind::Nul => set(field, "\"înainte\\u0000după\"".to_owned()),
        OddKind::HugeNumber => {
            set("credit", "123456789012345678901234567890.10".to_owned());
            set("limit", "1e400".to_owned());
            set("counter", "18446744073709551616".to_owned());
        }
        OddKind::LongText => set(field, text(&"lung șir 🙂 ".repeat(1 << 16))),
        OddKind::LoneSurrogate => set(field, "\"half \\ud83d of a face\"".to_owned()),
        OddKind::Deep => set("tree", format!("{}{}", "[".repeat(100), "]".repeat(100))),
        OddKind::Twice => odd.twice.push((field.to_owned(), "\"the second value\"".to_owned())),
        OddKind::Time => {
            let forms = [
                "1768818600",
                "1768818600123",
                "\"2026-01-19 10:30:00\"",
                "\"2026-01-19T10:30:00.5+02:00\"",
                "\"yesterday\"",
                "\"0000-00-00T00:00:00Z\"",
                "\"\"",
            ];
            set(when, (*forms.choose(rng).unwrap_or(&"0")).to_owned());
        }
    }
    odd
}
