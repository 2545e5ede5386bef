//! How rows become a response: envelope, total, members.

use rand::rngs::StdRng;

use super::account::Members;
use super::options::{Envelope, ObjectEnvelope, ShapeOptions, Totals};

/// A page of a list, ready to be written.
pub(super) struct Page<'a> {
    /// The list's name, e.g. `contacts`.
    pub(super) resource: &'a str,
    pub(super) rows: Vec<Members>,
    /// How many rows the list has.
    pub(super) total: usize,
    pub(super) offset: usize,
    pub(super) limit: usize,
    /// The members asked for; none is all.
    pub(super) fields: &'a [String],
}

/// Writes a page as the switches say.
pub(super) fn page(page: Page<'_>, shape: &ShapeOptions, rng: &mut StdRng) -> String {
    let has_more = page.offset + page.rows.len() < page.total;
    let rows: Vec<String> = page
        .rows
        .into_iter()
        .map(|row| members(row, page.fields, shape, rng))
        .collect();
    let rows = format!("[{}]", rows.join(","));
    let total = match shape.totals {
        // The same lie every time: one that changes could be the truth about a list that changes.
        Totals::Wrong if page.resource == "conversations" => page.total.checked_sub(3).unwrap_or(page.total + 3),
        Totals::Wrong => page.total + 7,
        _ => page.total,
    };
    let mut notes = Members::default();
    if shape.totals != Totals::None {
        notes.push("total", total.to_string());
        notes.push("limit", page.limit.to_string());
        notes.push("offset", page.offset.to_string());
    }
    if shape.has_more {
        notes.push("has_more", has_more.to_string());
    }
    let wrapped = |name: &str, rows: &str| {
        let mut object = Members::default();
        object.push(name, rows.to_owned());
        match shape.totals {
            Totals::Meta => object.push("meta", notes.to_json()),
            Totals::Pagination => object.push("pagination", notes.to_json()),
            Totals::Beside | Totals::Wrong | Totals::None => object.append(notes.clone()),
        }
        object.to_json()
    };
    match shape.envelope {
        Envelope::Bare => rows,
        Envelope::Data => wrapped("data", &rows),
        Envelope::Items => wrapped("items", &rows),
        Envelope::Resource => wrapped(page.resource, &rows),
        Envelope::Nested => format!("{{\"data\":{}}}", wrapped(page.resource, &rows)),
    }
}

/// Writes a single object as the switches say; `name` is e.g. `conversation`.
pub(super) fn object(row: Members, name: &str, fields: &[String], shape: &ShapeOptions, rng: &mut StdRng) -> String {
    let row = members(row, fields, shape, rng);
    match shape.object_envelope {
        ObjectEnvelope::Bare => row,
        ObjectEnvelope::Data => format!("{{\"data\":{row}}}"),
        ObjectEnvelope::Resource => format!("{{\"{name}\":{row}}}"),
    }
}

fn members(mut row: Members, fields: &[String], shape: &ShapeOptions, rng: &mut StdRng) -> String {
    if !fields.is_empty() {
        row.select(fields);
    }
    if shape.shuffle_members {
        row.shuffle(rng);
    }
    row.to_json()
}
