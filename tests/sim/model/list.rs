//! A list in its order, with the memory of all rows it ever had.

use super::row::{Kind, Row, Style};
use crate::scenario::Order;

/// The distance between the places of two rows that were added one after the other at an end.
const STEP: u64 = 1 << 32;

#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) kind: Kind,
    pub(crate) order: Order,
    /// All rows there ever were, by number.
    pub(crate) rows: Vec<Row>,
    /// The numbers of the living, in the list's order.
    pub(crate) listed: Vec<usize>,
    head: u64,
    tail: u64,
    /// The head of those that never changed, where they stand before the others, and the tail, where they stand behind them.
    unchanged_head: u64,
    unchanged_tail: u64,
}

impl List {
    pub(crate) const fn new(kind: Kind, order: Order) -> Self {
        Self {
            kind,
            order,
            rows: Vec::new(),
            listed: Vec::new(),
            head: 1 << 62,
            tail: (1 << 62) + STEP,
            unchanged_head: 1 << 61,
            unchanged_tail: 1 << 63,
        }
    }

    /// The place of a row that is new, or was just changed.
    fn growing_end(&mut self, entropy: u64) -> u64 {
        match self.order {
            Order::CreatedDesc | Order::UpdatedDesc | Order::UpdatedNullsFirst => {
                self.head -= STEP;
                self.head
            }
            Order::CreatedAsc | Order::UpdatedAsc | Order::UpdatedNullsLast => {
                self.tail += STEP;
                self.tail
            }
            Order::UnknownStable => entropy,
        }
    }

    fn slot(&self, place: u64) -> usize {
        self.listed.partition_point(|number| self.rows[*number].place < place)
    }

    /// A new row where the list grows. `active` is of conversations alone.
    pub(crate) fn insert(&mut self, event: u64, now: i64, active: bool, entropy: u64, style: Style) -> usize {
        let place = match self.order {
            Order::UpdatedNullsFirst => {
                self.unchanged_head -= STEP;
                self.unchanged_head
            }
            Order::UpdatedNullsLast => {
                self.unchanged_tail += STEP;
                self.unchanged_tail
            }
            _ => self.growing_end(entropy),
        };
        self.put(place, event, now, now, active, style)
    }

    /// A new row in front of another, dated as that one; `None` if there is no room between it and its neighbour, or
    /// it would say that it has changed.
    pub(crate) fn insert_before(&mut self, slot: usize, event: u64, now: i64, style: Style) -> Option<usize> {
        let next = &self.rows[*self.listed.get(slot)?];
        if self.order.has_nulls() && next.has_changed() {
            return None;
        }
        let (to, created, updated) = (next.place, next.created, next.updated);
        let from = match slot.checked_sub(1) {
            Some(before) => self.rows[self.listed[before]].place,
            None => to.saturating_sub(2),
        };
        if to - from < 2 {
            return None;
        }
        let updated = if self.order.is_by_change() { updated } else { now };
        Some(self.put(from + (to - from) / 2, event, created, updated, false, style))
    }

    fn put(&mut self, place: u64, event: u64, created: i64, updated: i64, active: bool, style: Style) -> usize {
        let number = self.rows.len();
        let mut row = Row {
            kind: self.kind,
            number,
            place,
            alive: true,
            born: event,
            versions: vec![event],
            created,
            updated,
            active,
            hidden: self.kind == Kind::Contact && style.hides > 0 && number % style.hides as usize == 1,
            large: style.large > 0 && number % style.large as usize == 3,
            json: String::new(),
        };
        row.render(style);
        self.rows.push(row);
        let slot = self.slot(place);
        self.listed.insert(slot, number);
        number
    }

    pub(crate) fn delete(&mut self, slot: usize) -> usize {
        let number = self.listed.remove(slot);
        self.rows[number].alive = false;
        number
    }

    /// A deleted row is there again, where it was, as it was, unless another has its place now.
    pub(crate) fn bring_back(&mut self, number: usize, event: u64) {
        let place = self.rows[number].place;
        let slot = self.slot(place);
        let is_taken = self
            .listed
            .get(slot)
            .is_some_and(|there| self.rows[*there].place == place);
        if self.rows[number].alive || is_taken {
            return;
        }
        let row = &mut self.rows[number];
        row.alive = true;
        row.born = event;
        self.listed.insert(slot, number);
    }

    /// New content, a new date, and where the order follows it a new place.
    pub(crate) fn touch(&mut self, number: usize, event: u64, now: i64, style: Style) {
        let moves = self.order.is_by_change() && self.rows[number].alive;
        if moves {
            let slot = self.slot(self.rows[number].place);
            self.listed.remove(slot);
            self.rows[number].place = self.growing_end(0);
        }
        let row = &mut self.rows[number];
        row.versions.push(event);
        row.updated = now;
        row.render(style);
        if moves {
            let slot = self.slot(self.rows[number].place);
            self.listed.insert(slot, number);
        }
    }

    /// The rows that live and are shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Row> + Clone {
        self.living().filter(|row| !row.hidden)
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = &Row> + Clone {
        self.listed.iter().map(|number| &self.rows[*number])
    }
}
