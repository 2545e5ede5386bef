//! Who is at work on an account's events, and how many more may be.

use std::collections::HashSet;

use crate::warehouse::Entity;

/// So many entities of an account are applied at a time.
const AT_ONCE: usize = 8;
/// Of these, so many of which an event was tried before: those that the API is long silent about leave hands for what is new.
const AGAIN_AT_ONCE: usize = 4;

/// The entities that are not to be claimed: they are being applied, or how that ended is not stored yet.
#[derive(Debug, Default)]
pub(super) struct Hands {
    busy: HashSet<Entity>,
    /// Of these, those of which an event was tried before, …
    again: HashSet<Entity>,
    /// … and those that were begun before the account had to wait.
    begun_before: HashSet<Entity>,
    /// Whether the account has to wait, as far as is known: one finds out. Those that were begun before may be long about it.
    is_waiting: bool,
}

impl Hands {
    /// An entity is begun, of which an event was tried before or not.
    pub(super) fn begin(&mut self, entity: &Entity, was_tried: bool) {
        self.busy.insert(entity.clone());
        if was_tried {
            self.again.insert(entity.clone());
        }
    }

    /// It is not under way any more.
    pub(super) fn end(&mut self, entity: &Entity) {
        self.busy.remove(entity);
        self.again.remove(entity);
        self.begun_before.remove(entity);
    }

    /// The account has to wait, or not any more.
    pub(super) fn set_waiting(&mut self, is_waiting: bool) {
        if is_waiting && !self.is_waiting {
            self.begun_before.clone_from(&self.busy);
        }
        self.is_waiting = is_waiting;
    }

    /// How many entities more may be begun.
    pub(super) fn free(&self) -> usize {
        if self.is_waiting {
            usize::from(self.busy.iter().all(|entity| self.begun_before.contains(entity)))
        } else {
            AT_ONCE.saturating_sub(self.busy.len())
        }
    }

    /// How many of them may be such of which an event was tried before.
    pub(super) fn free_again(&self) -> usize {
        self.free().min(AGAIN_AT_ONCE.saturating_sub(self.again.len()))
    }

    /// The entities.
    pub(super) fn busy(&self) -> Vec<Entity> {
        self.busy.iter().cloned().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.busy.len()
    }

    /// Whether there is none.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(number: usize) -> Entity {
        Entity::Conversation(number.to_string())
    }

    #[test]
    fn whoever_was_begun_before_an_account_had_to_wait_is_not_who_finds_out() {
        let mut hands = Hands::default();
        hands.begin(&entity(1), true);
        hands.begin(&entity(2), false);
        assert_eq!((hands.free(), hands.free_again()), (6, 3));
        hands.set_waiting(true);
        hands.end(&entity(2));
        assert_eq!(hands.free(), 1);
        hands.begin(&entity(2), true);
        hands.set_waiting(true);
        assert_eq!((hands.free(), hands.free_again()), (0, 0));
        hands.end(&entity(2));
        assert_eq!((hands.free(), hands.free_again()), (1, 1));
        hands.set_waiting(false);
        assert_eq!(hands.free(), 7);
        (2..=4).for_each(|number| hands.begin(&entity(number), true));
        assert_eq!((hands.free(), hands.free_again()), (4, 0));
    }
}
