//! Rows by key, by id, and in the order in which the API lists them.
//!
//! The order is kept, not computed: a page costs its own length, a change a binary search and one move of memory,
//! also with 200,000 rows.

use std::collections::{HashMap, HashSet};

use super::rows::{Key, Stamps};
use crate::sandbox::options::Order;

/// What a [`Store`] needs to know of its rows.
pub(in crate::sandbox) trait Row {
    fn key(&self) -> Key;
    fn id(&self) -> &str;
    fn stamps(&self) -> Stamps;
    /// The value by which the API can filter the list.
    fn group(&self) -> Option<&str>;
}

/// Where a row stands in its list; unique, because `key` is.
type Place = (u64, u64, Key);

/// The rows of one list.
#[derive(Debug)]
pub(in crate::sandbox) struct Store<T> {
    rows: HashMap<Key, T>,
    by_id: HashMap<String, Key>,
    /// Rows that no list shows, though the API knows them by their id.
    hidden: HashSet<Key>,
    order: Order,
    all: Vec<Place>,
    groups: HashMap<String, Vec<Place>>,
}

impl<T: Row> Store<T> {
    pub(in crate::sandbox) fn new(order: Order) -> Self {
        Self {
            rows: HashMap::new(),
            by_id: HashMap::new(),
            hidden: HashSet::new(),
            order,
            all: Vec::new(),
            groups: HashMap::new(),
        }
    }

    pub(in crate::sandbox) fn set_order(&mut self, order: Order) {
        if order == self.order {
            return;
        }
        self.order = order;
        self.all.clear();
        self.groups.clear();
        for row in self.rows.values().filter(|row| !self.hidden.contains(&row.key())) {
            let place = place(row, order);
            self.all.push(place);
            if let Some(group) = row.group() {
                self.groups.entry(group.to_owned()).or_default().push(place);
            }
        }
        self.all.sort_unstable();
        self.groups.values_mut().for_each(|group| group.sort_unstable());
    }

    pub(in crate::sandbox) fn insert(&mut self, row: T) {
        self.link(&row);
        self.by_id.insert(row.id().to_owned(), row.key());
        self.rows.insert(row.key(), row);
    }

    pub(in crate::sandbox) fn remove(&mut self, key: Key) -> Option<T> {
        let row = self.rows.remove(&key)?;
        self.by_id.remove(row.id());
        self.unlink(&row);
        self.hidden.remove(&key);
        Some(row)
    }

    /// Changes a row and moves it to its new place; `None` if there is no such row.
    pub(in crate::sandbox) fn edit<R>(&mut self, key: Key, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut row = self.rows.remove(&key)?;
        self.unlink(&row);
        let answer = change(&mut row);
        self.link(&row);
        self.rows.insert(key, row);
        Some(answer)
    }

    pub(in crate::sandbox) fn get(&self, key: Key) -> Option<&T> {
        self.rows.get(&key)
    }

    pub(in crate::sandbox) fn key_of(&self, id: &str) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    /// How many rows the list shows.
    pub(in crate::sandbox) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes a row out of the lists, or puts it back; whether it exists.
    pub(in crate::sandbox) fn hide(&mut self, key: Key, hidden: bool) -> bool {
        let Some(row) = self.rows.remove(&key) else {
            return false;
        };
        self.unlink(&row);
        if hidden {
            self.hidden.insert(key);
        } else {
            self.hidden.remove(&key);
        }
        self.link(&row);
        self.rows.insert(key, row);
        true
    }

    /// How many rows the group has.
    pub(in crate::sandbox) fn group_len(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, Vec::len)
    }

    /// The row at an offset of the whole list.
    pub(in crate::sandbox) fn at(&self, offset: usize) -> Option<Key> {
        self.slice(None, offset, 1).first().map(|row| row.key())
    }

    /// A page of the whole list, or of one group of it.
    pub(in crate::sandbox) fn slice(&self, group: Option<&str>, offset: usize, limit: usize) -> Vec<&T> {
        let places: &[Place] = match group {
            None => &self.all,
            Some(group) => self.groups.get(group).map_or(&[], Vec::as_slice),
        };
        let row = |place: &Place| self.rows.get(&place.2);
        if descending(self.order) {
            places.iter().rev().skip(offset).take(limit).filter_map(row).collect()
        } else {
            places.iter().skip(offset).take(limit).filter_map(row).collect()
        }
    }

    /// All rows in the order of the list.
    pub(in crate::sandbox) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slice(None, 0, usize::MAX).into_iter()
    }

    fn link(&mut self, row: &T) {
        if self.hidden.contains(&row.key()) {
            return;
        }
        let place = place(row, self.order);
        put(&mut self.all, place);
        if let Some(group) = row.group() {
            put(self.groups.entry(group.to_owned()).or_default(), place);
        }
    }

    fn unlink(&mut self, row: &T) {
        let place = place(row, self.order);
        take(&mut self.all, place);
        if let Some(places) = row.group().and_then(|group| self.groups.get_mut(group)) {
            take(places, place);
        }
    }
}

fn put(places: &mut Vec<Place>, place: Place) {
    let at = places.partition_point(|other| *other < place);
    places.insert(at, place);
}

fn take(places: &mut Vec<Place>, place: Place) {
    if let Ok(at) = places.binary_search(&place) {
        places.remove(at);
    }
}

const fn descending(order: Order) -> bool {
    matches!(order, Order::CreatedDesc | Order::UpdatedDesc)
}

fn place<T: Row>(row: &T, order: Order) -> Place {
    let stamps = row.stamps();
    match order {
        Order::CreatedAsc | Order::CreatedDesc => (instant(stamps.created), 0, row.key()),
        Order::UpdatedAsc | Order::UpdatedDesc => (instant(stamps.updated), stamps.version, row.key()),
        Order::Id => {
            // Ids end in sixteen hexadecimal digits, so their number sorts as their text does.
            let digits = row.id().rsplit('_').next().unwrap_or_default();
            (u64::from_str_radix(digits, 16).unwrap_or_default(), 0, row.key())
        }
    }
}

fn instant(at: chrono::DateTime<chrono::Utc>) -> u64 {
    at.timestamp_micros().cast_unsigned() ^ (1 << 63)
}
