//! Random changes of the account, seeded.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::generate::{between, pick};
use super::people::{PAGES, SOURCES, TAGS};
use super::store::{Row, Store};
use super::{Account, ContactDraft, Key, MessageDraft, RESOLUTIONS};
use crate::sandbox::options::{ChurnKind, ChurnOf, ChurnOptions, ChurnWhere};

/// Which random changes are made, to what, and where.
#[derive(Clone, Debug)]
pub struct MutationKinds {
    /// Which changes; each is equally likely.
    pub kinds: Vec<ChurnKind>,
    /// What is changed; each is equally likely.
    pub of: Vec<ChurnOf>,
    /// Where in the list.
    pub at: ChurnWhere,
}

impl Default for MutationKinds {
    fn default() -> Self {
        Self {
            kinds: vec![
                ChurnKind::Insert,
                ChurnKind::Delete,
                ChurnKind::Update,
                ChurnKind::Touch,
            ],
            of: vec![ChurnOf::Contacts, ChurnOf::Conversations, ChurnOf::Messages],
            at: ChurnWhere::Anywhere,
        }
    }
}

impl From<&ChurnOptions> for MutationKinds {
    fn from(options: &ChurnOptions) -> Self {
        Self {
            kinds: options.churn_kinds.clone(),
            of: options.churn_of.clone(),
            at: options.churn_where,
        }
    }
}

impl Account {
    /// Makes `count` random changes that depend on nothing but the account and the seed.
    pub(in crate::sandbox) fn mutate(&mut self, seed: u64, count: usize, what: &MutationKinds, now: DateTime<Utc>) {
        let kept = std::mem::replace(&mut self.rng, StdRng::seed_from_u64(seed));
        self.churn(count, what, now);
        self.rng = kept;
    }

    /// Makes `count` random changes.
    pub(in crate::sandbox) fn churn(&mut self, count: usize, what: &MutationKinds, now: DateTime<Utc>) {
        for _ in 0..count {
            let (kind, of) = (what.kinds.choose(&mut self.rng), what.of.choose(&mut self.rng));
            let (Some(kind), Some(of)) = (kind, of) else { return };
            match of {
                ChurnOf::Contacts => self.churn_contact(*kind, what.at, now),
                ChurnOf::Conversations => self.churn_conversation(*kind, what.at, now),
                ChurnOf::Messages => self.churn_message(*kind, what.at, now),
            }
        }
    }

    fn churn_contact(&mut self, kind: ChurnKind, at: ChurnWhere, now: DateTime<Utc>) {
        if let ChurnKind::Insert | ChurnKind::Import = kind {
            let draft = self.somebody();
            let created = self.creation(kind, now);
            self.insert_contact(draft, created);
            return;
        }
        let Some(key) = choose(&mut self.rng, &self.contacts, at) else {
            return;
        };
        match kind {
            ChurnKind::Delete => {
                self.delete_contact(key);
            }
            ChurnKind::Touch => {
                self.touch_contact(key, now);
            }
            _ => {
                let draft = self.news();
                let stamps = self.contacts.get(key).map(Row::stamps);
                self.update_contact(key, draft, now);
                if let (ChurnKind::Silent, Some(stamps)) = (kind, stamps) {
                    self.contacts.edit(key, |row| row.stamps = stamps);
                }
            }
        }
    }

    /// Something new about a contact.
    fn news(&mut self) -> ContactDraft {
        let number = self.next_version;
        let rng = &mut self.rng;
        match rng.random_range(0..3) {
            0 => ContactDraft {
                phone: Some(format!("+407{:08}", rng.random_range(0..100_000_000_u32))),
                ..ContactDraft::default()
            },
            1 => ContactDraft {
                tags: Some(vec![pick(rng, &TAGS).to_owned(), format!("v{number}")]),
                ..ContactDraft::default()
            },
            _ => ContactDraft {
                custom_fields: Some(json!({"source": pick(rng, &SOURCES), "revision": number})),
                ..ContactDraft::default()
            },
        }
    }

    fn churn_conversation(&mut self, kind: ChurnKind, at: ChurnWhere, now: DateTime<Utc>) {
        if let ChurnKind::Insert | ChurnKind::Import = kind {
            let created = self.creation(kind, now);
            let key = self.opened(created);
            self.exchange(key, false, created, created);
            return;
        }
        let Some(key) = choose(&mut self.rng, &self.conversations, at) else {
            return;
        };
        match kind {
            ChurnKind::Delete => {
                self.delete_conversation(key);
            }
            ChurnKind::Touch => {
                self.edit_conversation(key, now, |_| ());
            }
            _ => {
                let stamps = self.conversations.get(key).map(Row::stamps);
                let resolution = pick(&mut self.rng, &RESOLUTIONS).to_owned();
                let score = self.rng.random_range(1..=5);
                let revision = self.next_version;
                let metadata = json!({"page": pick(&mut self.rng, &PAGES), "revision": revision}).to_string();
                self.edit_conversation(key, now, |row| {
                    if row.status == "active" {
                        "closed".clone_into(&mut row.status);
                        row.resolution = Some(resolution);
                    } else if row.score.is_none() {
                        row.score = Some(score);
                    } else {
                        row.metadata = metadata;
                    }
                });
                if let (ChurnKind::Silent, Some(stamps)) = (kind, stamps) {
                    self.conversations.edit(key, |row| row.stamps = stamps);
                }
            }
        }
    }

    fn churn_message(&mut self, kind: ChurnKind, at: ChurnWhere, now: DateTime<Utc>) {
        let Some(conversation) = self.somewhere_to_talk(kind, at) else {
            return;
        };
        let count = self.messages(conversation).len();
        if let ChurnKind::Insert | ChurnKind::Import = kind {
            if self.rng.random_bool(0.5) {
                self.exchange(conversation, false, now, now);
            } else {
                let content = format!("P.S. {} ✍️", self.next_key);
                let draft = MessageDraft {
                    role: "visitor".to_owned(),
                    content,
                };
                self.insert_message(conversation, draft, now);
            }
            return;
        }
        if count == 0 {
            return;
        }
        let chosen = self.rng.random_range(0..count);
        let revision = self.next_key;
        if let Some(messages) = self.messages.get_mut(&conversation) {
            if kind == ChurnKind::Delete {
                messages.remove(chosen);
            } else if kind != ChurnKind::Touch {
                messages[chosen].content = format!("(editat {revision}) {}", messages[chosen].content);
                self.next_key += 1;
            }
        }
        if kind != ChurnKind::Silent && !self.options.quiet_messages {
            self.edit_conversation(conversation, now, |_| ());
        }
    }

    /// Messages are said where people talk; old ones are deleted or edited anywhere.
    fn somewhere_to_talk(&mut self, kind: ChurnKind, at: ChurnWhere) -> Option<Key> {
        let active = self.conversations.group_len("active");
        if matches!(kind, ChurnKind::Insert | ChurnKind::Import) && active > 0 {
            let offset = self.rng.random_range(0..active);
            return self
                .conversations
                .slice(Some("active"), offset, 1)
                .first()
                .map(|row| row.key);
        }
        choose(&mut self.rng, &self.conversations, at)
    }

    fn creation(&mut self, kind: ChurnKind, now: DateTime<Utc>) -> DateTime<Utc> {
        if kind == ChurnKind::Import {
            let history = TimeDelta::from_std(self.options.history).unwrap_or(TimeDelta::days(180));
            between(&mut self.rng, now - history, now)
        } else {
            now
        }
    }
}

fn choose<T: Row>(rng: &mut StdRng, store: &Store<T>, at: ChurnWhere) -> Option<Key> {
    let count = store.len();
    let tenth = count.div_ceil(10);
    let range = match at {
        ChurnWhere::Head => 0..tenth,
        ChurnWhere::Tail => count - tenth..count,
        ChurnWhere::Anywhere => 0..count,
    };
    if range.is_empty() {
        None
    } else {
        store.at(rng.random_range(range))
    }
}
