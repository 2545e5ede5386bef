//! The account as the API has it: a second reading of AllAI's guide, independent of the sandbox, small and fast.

mod churn;
mod list;
mod row;

pub(crate) use list::List;
pub(crate) use row::{Kind, Row, Style, Value};

use crate::random::Random;
use crate::scenario::{Order, Scenario};

/// The account, with the memory of all it ever held.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) style: Style,
    pub(crate) contacts: List,
    pub(crate) conversations: List,
    /// By the number of the conversation.
    pub(crate) messages: Vec<List>,
    /// How many changes there were.
    pub(crate) event: u64,
    /// Which end of a list of messages grows.
    message_order: Order,
    /// Contacts and conversations at the beginning.
    first_sizes: (usize, usize),
    random: Random,
}

/// Where something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Contacts,
    Conversations,
    /// Of the conversation of this number.
    Messages(usize),
}

impl Account {
    /// The account as it is when the first sync begins, at `now` by the server's clock.
    pub(crate) fn new(scenario: &Scenario, now: i64) -> Self {
        let message_order = if scenario.messages_newest_first {
            Order::CreatedDesc
        } else {
            Order::CreatedAsc
        };
        let mut account = Self {
            style: Style {
                dates: scenario.dates,
                stamp: scenario.stamp,
                hides: scenario.oddities.hides,
                large: scenario.oddities.large,
                nulls: scenario.order.has_nulls(),
            },
            contacts: List::new(Kind::Contact, scenario.order),
            conversations: List::new(Kind::Conversation, scenario.order),
            messages: Vec::new(),
            event: 0,
            message_order,
            first_sizes: (scenario.contacts as usize, scenario.conversations as usize),
            random: Random::new(scenario.seed, 100),
        };
        let month = 30 * 86_400;
        let mut at = now - month;
        let step = month / i64::from(scenario.contacts + 1);
        for _ in 0..scenario.contacts {
            account.insert(Place::Contacts, at);
            // Some are of the same second.
            at += step * i64::from(account.random.below(2));
        }
        for _ in 0..scenario.conversations {
            let number = account.insert(Place::Conversations, at);
            for second in 0..account.random.between(0, scenario.messages) {
                account.insert(Place::Messages(number), at + i64::from(second));
            }
            at += 60;
        }
        // Changed at some time or other, those last changed in the front where the order says so.
        for list in [&mut account.contacts, &mut account.conversations] {
            for _ in 0..list.rows.len() / 2 {
                let number = account.random.index(list.rows.len());
                at = (at + 1).min(now);
                list.touch(number, 0, at, account.style);
            }
        }
        account
    }

    pub(crate) fn list(&self, place: Place) -> &List {
        match place {
            Place::Contacts => &self.contacts,
            Place::Conversations => &self.conversations,
            Place::Messages(number) => &self.messages[number],
        }
    }

    fn list_mut(&mut self, place: Place) -> &mut List {
        match place {
            Place::Contacts => &mut self.contacts,
            Place::Conversations => &mut self.conversations,
            Place::Messages(number) => &mut self.messages[number],
        }
    }

    /// The conversation of this id, deleted or not.
    pub(crate) fn conversation(&self, id: &str) -> Option<&Row> {
        self.conversations.rows.get(number_of(id, Kind::Conversation)?)
    }

    /// Messages of conversations that live, with the number of their conversation.
    pub(crate) fn living_messages(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.conversations.living().flat_map(|conversation| {
            self.messages[conversation.number]
                .living()
                .map(|row| (conversation.number, row))
        })
    }

    fn insert(&mut self, place: Place, now: i64) -> usize {
        let active = place == Place::Conversations && self.random.chance(30);
        let entropy = self.random.next() >> 1;
        let (event, style) = (self.event, self.style);
        let number = self.list_mut(place).insert(event, now, active, entropy, style);
        if place == Place::Conversations {
            self.messages.push(List::new(Kind::Message, self.message_order));
        }
        number
    }
}

/// The number in an id of this kind.
pub(crate) fn number_of(id: &str, kind: Kind) -> Option<usize> {
    let letter = match kind {
        Kind::Contact => 'c',
        Kind::Conversation => 'v',
        Kind::Message => 'm',
    };
    id.strip_prefix(letter)?.parse().ok()
}
