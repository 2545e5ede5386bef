//! How the account changes.

use super::{Account, Place};
use crate::scenario::Churn;

#[derive(Clone, Copy)]
enum Change {
    Insert,
    InsertBackdated,
    DeleteHead,
    DeleteTail,
    DeleteAnywhere,
    Touch,
    Return,
}

impl Account {
    /// What changes before a request is answered, mostly where it looks. `now` is the server's clock, in seconds.
    pub(crate) fn change(&mut self, churn: &Churn, looking_at: Place, now: i64) {
        let certain = churn.per_hundred / 100;
        let changes = certain + u32::from(self.random.chance(churn.per_hundred % 100));
        for _ in 0..changes {
            let place = if self.random.chance(70) {
                looking_at
            } else {
                self.anywhere()
            };
            self.change_once(churn, place, now);
        }
    }

    /// So many rows at the head of a list go at once.
    pub(crate) fn purge(&mut self, place: Place, rows: u32) {
        self.event += 1;
        let list = self.list_mut(place);
        for _ in 0..list.listed.len().min(rows as usize) {
            list.delete(0);
        }
    }

    fn anywhere(&mut self) -> Place {
        match self.random.below(3) {
            0 => Place::Contacts,
            1 => Place::Conversations,
            _ => match self.conversations.listed.len() {
                0 => Place::Conversations,
                living => Place::Messages(self.conversations.listed[self.random.index(living)]),
            },
        }
    }

    /// The rows a list may have.
    fn most(&self, place: Place) -> usize {
        match place {
            Place::Contacts => 2 * self.first_sizes.0 + 20,
            Place::Conversations => 2 * self.first_sizes.1 + 5,
            Place::Messages(_) => 25,
        }
    }

    fn change_once(&mut self, churn: &Churn, place: Place, now: i64) {
        let change = self.random.weighted(&[
            (Change::Insert, churn.inserts),
            (Change::InsertBackdated, churn.backdated),
            (Change::DeleteHead, churn.deletes_at_head),
            (Change::DeleteTail, churn.deletes_at_tail),
            (Change::DeleteAnywhere, churn.deletes_anywhere),
            (Change::Touch, churn.touches),
            (Change::Return, churn.returns),
        ]);
        let length = self.list(place).listed.len();
        let change = match change {
            // However many come, the account stays of a size that can be read.
            Some(Change::Insert | Change::InsertBackdated) if length >= self.most(place) => Change::DeleteAnywhere,
            Some(change) => change,
            None => return,
        };
        self.event += 1;
        let (event, style) = (self.event, self.style);
        let remembered = self.list(place).rows.len();
        let anywhere = self.random.index(length);
        let ever = self.random.index(remembered);
        let list = self.list_mut(place);
        match change {
            Change::Insert => {
                let number = self.insert(place, now);
                if place == Place::Conversations {
                    for _ in 0..self.random.below(3) {
                        self.insert(Place::Messages(number), now);
                    }
                }
            }
            Change::InsertBackdated if length > 0 => {
                let inserted = list.insert_before(anywhere, event, now, style);
                if inserted.is_some() && place == Place::Conversations {
                    self.messages
                        .push(super::List::new(super::Kind::Message, self.message_order));
                }
            }
            Change::DeleteHead if length > 0 => {
                list.delete(0);
            }
            Change::DeleteTail if length > 0 => {
                list.delete(length - 1);
            }
            Change::DeleteAnywhere if length > 0 => {
                list.delete(anywhere);
            }
            Change::Touch if length > 0 => {
                let number = list.listed[anywhere];
                let flips = place == Place::Conversations && self.random.chance(50);
                let row = &mut self.list_mut(place).rows[number];
                row.active ^= flips;
                self.list_mut(place).touch(number, event, now, style);
            }
            Change::Return if remembered > 0 => list.bring_back(ever, event),
            _ => {}
        }
        // What is said in a conversation may change the conversation, or may not.
        if let Place::Messages(number) = place
            && self.conversations.rows[number].alive
            && self.random.chance(50)
        {
            self.conversations.touch(number, event, now, style);
        }
    }
}
