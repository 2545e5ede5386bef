//! Columns of a row as SQLite takes them.
//!
//! They are shared texts: a statement is handed to the thread that executes it with all its values, which would free them one
//! by one, each under the lock of the thread that made them. The row keeps them until it is dropped itself, and they are
//! made wherever there is time for it (see [`Warehouse::prepare`]).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::sqlite::Query;
use super::values::api_time;
use super::{Warehouse, contacts, conversations, messages};
use crate::allai::model::{Cell, Record, Row};

pub(super) fn text(text: Option<&str>) -> Cell {
    text.map_or(Cell::Null, |text| Cell::Text(text.into()))
}

pub(super) fn time(at: Option<DateTime<Utc>>) -> Cell {
    text(api_time(at).as_deref())
}

pub(super) fn number(number: Option<f64>) -> Cell {
    number.map_or(Cell::Null, Cell::Number)
}

/// Binds the columns of `row` that the API fills.
pub(super) fn bind<'q>(row: &Row, query: Query<'q>) -> Query<'q> {
    of(row).iter().fold(query, |query, cell| match cell {
        Cell::Null => query.bind(None::<&str>),
        Cell::Text(text) => query.bind(Arc::clone(text)),
        Cell::Number(number) => query.bind(*number),
    })
}

fn of(row: &Row) -> &[Cell] {
    row.cells(|record| match record {
        Record::Contact(row) => contacts::cells(row),
        Record::Conversation(row) => conversations::cells(row),
        Record::Message(row) => messages::cells(row),
    })
}

impl Warehouse {
    /// Makes of rows that will be stored what the database takes, on the thread that calls it. Nobody has to; storing them
    /// does it otherwise.
    pub fn prepare(&self, rows: &[Row]) {
        if matches!(self, Self::Sqlite(_)) {
            for row in rows {
                of(row);
            }
        }
    }
}
