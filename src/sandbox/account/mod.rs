//! The account: its rows, what can happen to them, and which events that causes.
//!
//! Invariants: every change goes through a method of [`Account`], so lists, ids and events stay true to the rows. The
//! account has no clock: the server's time is handed to it.

mod catalogue;
mod churn;
mod dialogues;
mod generate;
mod members;
mod odd;
mod people;
mod rows;
mod snapshot;
mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use catalogue::{CATALOGUE, Product};
pub use churn::MutationKinds;
pub use odd::OddKind;
pub use rows::{ContactDraft, ConversationDraft, MessageDraft};
pub use snapshot::{Snapshot, SnapshotRow};

pub(super) use members::{Members, text};
pub(super) use rows::{Contact, Conversation, Key, Message, Oddity, Stamps, time};
pub(super) use store::Store;

use super::bot;
use super::options::{AccountOptions, Options, Order, TimeFormat};

/// The statuses a conversation can have.
pub(super) const STATUSES: [&str; 2] = ["active", "closed"];
/// The ways in which a conversation can end.
pub(super) const RESOLUTIONS: [&str; 4] = ["resolved_by_bot", "resolved_by_agent", "abandoned", "spam"];

/// Something a webhook may want to know.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: &'static str,
    /// A JSON object.
    pub(super) data: String,
    pub(super) at: DateTime<Utc>,
}

/// The state of the simulated account.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) contacts: Store<Contact>,
    pub(super) conversations: Store<Conversation>,
    messages: HashMap<Key, Vec<Message>>,
    by_contact: HashMap<String, Vec<Key>>,
    options: AccountOptions,
    time_format: TimeFormat,
    seed: u64,
    next_key: Key,
    next_version: u64,
    rng: StdRng,
    events: Vec<Event>,
    /// Not while the account is generated: nobody is told of the past.
    announcing: bool,
}

impl Account {
    /// An account generated from the seed, as of `now`.
    pub(super) fn new(options: &Options, now: DateTime<Utc>) -> Self {
        let mut account = Self {
            contacts: Store::new(Order::CreatedAsc),
            conversations: Store::new(Order::CreatedAsc),
            messages: HashMap::new(),
            by_contact: HashMap::new(),
            options: options.account.clone(),
            time_format: options.shape.time_format,
            seed: options.seed,
            next_key: 1,
            next_version: 1,
            rng: StdRng::seed_from_u64(options.seed),
            events: Vec::new(),
            announcing: false,
        };
        // Generated oldest first, so that the content does not depend on the order of lists, and filling them is cheap.
        account.generate(now);
        account.contacts.set_order(options.contacts_order());
        account.conversations.set_order(options.conversations_order());
        account.announcing = true;
        account
    }

    /// Takes over what can change while running: orders, time format, oddities of new rows.
    pub(super) fn reconfigure(&mut self, options: &Options) {
        self.contacts.set_order(options.contacts_order());
        self.conversations.set_order(options.conversations_order());
        self.options = options.account.clone();
        self.time_format = options.shape.time_format;
    }

    /// The events since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The chatbots of the account.
    pub(super) fn has_chatbot(id: &str) -> bool {
        people::CHATBOTS.contains(&id)
    }

    pub(super) fn is_channel(name: &str) -> bool {
        people::CHANNELS.contains(&name)
    }

    /// The messages of a conversation as they were said; empty if there is no such conversation.
    pub(super) fn messages(&self, conversation: Key) -> &[Message] {
        self.messages.get(&conversation).map_or(&[], Vec::as_slice)
    }

    /// The conversations of a contact, oldest first.
    pub(super) fn conversations_of(&self, contact_id: &str) -> &[Key] {
        self.by_contact.get(contact_id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn insert_contact(&mut self, draft: ContactDraft, now: DateTime<Utc>) -> Key {
        let (key, mut id) = self.new_id("cont");
        let kinds = &self.options.odd_kinds;
        let odd = odd::perhaps(&mut self.rng, self.options.odd_rows, kinds, &odd::CONTACT, &mut id);
        let language = bot::language(draft.name.as_deref().unwrap_or_default(), "ro");
        let contact = Contact {
            key,
            id,
            name: draft.name,
            email: draft.email,
            phone: draft.phone,
            tags: draft.tags.unwrap_or_default(),
            custom_fields: draft
                .custom_fields
                .map_or_else(|| "{}".to_owned(), |fields| fields.to_string()),
            language,
            stamps: self.stamps(now),
            odd,
        };
        if has_tag(&contact.tags, "lead") {
            self.announce("lead.created", &contact.members(self.time_format), now);
        }
        self.contacts.insert(contact);
        key
    }

    pub(super) fn update_contact(&mut self, key: Key, draft: ContactDraft, now: DateTime<Utc>) -> bool {
        let version = self.new_version();
        let edited = self.contacts.edit(key, |contact| {
            let was = (has_tag(&contact.tags, "lead"), has_tag(&contact.tags, "qualified"));
            contact.name = draft.name.or(contact.name.take());
            contact.email = draft.email.or(contact.email.take());
            contact.phone = draft.phone.or(contact.phone.take());
            if let Some(tags) = draft.tags {
                contact.tags = tags;
            }
            if let Some(fields) = draft.custom_fields {
                contact.custom_fields = fields.to_string();
            }
            contact.stamps.updated = now;
            contact.stamps.version = version;
            was
        });
        let (Some((was_lead, was_qualified)), Some(contact)) = (edited, self.contacts.get(key)) else {
            return false;
        };
        let (lead, qualified) = (has_tag(&contact.tags, "lead"), has_tag(&contact.tags, "qualified"));
        let members = contact.members(self.time_format);
        if lead && !was_lead {
            self.announce("lead.created", &members, now);
        }
        if qualified && !was_qualified {
            self.announce("lead.qualified", &members, now);
        }
        true
    }

    pub(super) fn touch_contact(&mut self, key: Key, now: DateTime<Utc>) -> bool {
        self.update_contact(key, ContactDraft::default(), now)
    }

    pub(super) fn delete_contact(&mut self, key: Key) -> bool {
        self.contacts.remove(key).is_some()
    }

    pub(super) fn insert_conversation(&mut self, draft: ConversationDraft, now: DateTime<Utc>) -> Key {
        let (key, mut id) = self.new_id("conv");
        let kinds = &self.options.odd_kinds;
        let odd = odd::perhaps(&mut self.rng, self.options.odd_rows, kinds, &odd::CONVERSATION, &mut id);
        let conversation = Conversation {
            key,
            id,
            chatbot_id: draft.chatbot_id.unwrap_or_else(|| people::CHATBOTS[0].to_owned()),
            contact_id: draft.contact_id,
            language: bot::language(draft.visitor_name.as_deref().unwrap_or_default(), "ro"),
            visitor_name: draft.visitor_name,
            visitor_email: draft.visitor_email,
            channel: draft.channel.unwrap_or_else(|| "api".to_owned()),
            status: "active".to_owned(),
            resolution: None,
            metadata: draft
                .metadata
                .map_or_else(|| "{}".to_owned(), |metadata| metadata.to_string()),
            topic: "other",
            score: None,
            closed: None,
            stamps: self.stamps(now),
            odd,
        };
        if let Some(contact) = &conversation.contact_id {
            self.by_contact.entry(contact.clone()).or_default().push(key);
        }
        self.announce("conversation.started", &conversation.members(self.time_format), now);
        self.conversations.insert(conversation);
        self.messages.insert(key, Vec::new());
        key
    }

    /// Changes a conversation, stamps it, and announces its end if the change ended it.
    pub(super) fn edit_conversation(
        &mut self,
        key: Key,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut Conversation),
    ) -> bool {
        let version = self.new_version();
        let edited = self.conversations.edit(key, |conversation| {
            let (was_closed, old_score) = (conversation.status == "closed", conversation.score);
            change(conversation);
            conversation.stamps.updated = now;
            conversation.stamps.version = version;
            let closed = conversation.status == "closed";
            conversation.closed = closed.then(|| conversation.closed.unwrap_or(now));
            (
                closed && !was_closed,
                conversation.score.filter(|_| conversation.score != old_score),
            )
        });
        let (Some((ended, rated)), Some(conversation)) = (edited, self.conversations.get(key)) else {
            return false;
        };
        let (members, id) = (conversation.members(self.time_format), conversation.id.clone());
        if ended {
            self.announce("conversation.ended", &members, now);
        }
        if let Some(score) = rated {
            let mut data = Members::default();
            data.push("conversation_id", text(&id));
            data.push("score", score.to_string());
            self.announce("satisfaction.rated", &data, now);
        }
        true
    }

    /// Deletes a conversation with its messages.
    pub(super) fn delete_conversation(&mut self, key: Key) -> bool {
        let Some(conversation) = self.conversations.remove(key) else {
            return false;
        };
        self.messages.remove(&key);
        if let Some(keys) = conversation.contact_id.and_then(|id| self.by_contact.get_mut(&id)) {
            keys.retain(|other| *other != key);
        }
        true
    }

    /// Adds a message; `None` if there is no such conversation.
    pub(super) fn insert_message(
        &mut self,
        conversation: Key,
        draft: MessageDraft,
        now: DateTime<Utc>,
    ) -> Option<Message> {
        let event = if draft.role == "visitor" {
            "message.received"
        } else {
            "message.sent"
        };
        let message = self.plain_message(draft, now);
        self.add_message(conversation, message, event, now)
    }

    /// Lets the bot answer a message; `None` if there is no such conversation.
    pub(super) fn answer(&mut self, conversation: Key, question: &str, now: DateTime<Utc>) -> Option<Message> {
        let known = self.conversations.get(conversation)?;
        let (id, language) = (known.id.clone(), bot::language(question, known.language));
        let answer = bot::answer(question, language);
        let draft = MessageDraft {
            role: "bot".to_owned(),
            content: answer.content,
        };
        let mut message = self.plain_message(draft, now);
        message.confidence = Some(answer.confidence);
        message.sources = answer.sources;
        message.response_ms = Some(200 + u32::try_from(self.next_key % 900).unwrap_or_default());
        let message = self.add_message(conversation, message, "message.sent", now);
        if answer.handoff {
            let mut data = Members::default();
            data.push("conversation_id", text(&id));
            data.push("reason", text("visitor_asked"));
            self.announce("handoff.requested", &data, now);
        }
        message
    }

    pub(super) fn delete_message(&mut self, conversation: Key, id: &str) -> bool {
        let Some(messages) = self.messages.get_mut(&conversation) else {
            return false;
        };
        let before = messages.len();
        messages.retain(|message| message.id != id);
        messages.len() < before
    }

    fn plain_message(&mut self, draft: MessageDraft, sent: DateTime<Utc>) -> Message {
        let (_, mut id) = self.new_id("msg");
        let kinds = &self.options.odd_kinds;
        let odd = odd::perhaps(&mut self.rng, self.options.odd_rows, kinds, &odd::MESSAGE, &mut id);
        Message {
            id,
            role: draft.role,
            kind: "text".to_owned(),
            content: draft.content,
            confidence: None,
            sources: Vec::new(),
            sent,
            response_ms: None,
            odd,
        }
    }

    fn add_message(
        &mut self,
        conversation: Key,
        message: Message,
        event: &'static str,
        now: DateTime<Utc>,
    ) -> Option<Message> {
        let id = self.conversations.get(conversation)?.id.clone();
        let mut data = message.members(self.time_format);
        data.push("conversation_id", text(&id));
        self.announce(event, &data, now);
        self.messages.entry(conversation).or_default().push(message.clone());
        if !self.options.quiet_messages {
            self.edit_conversation(conversation, now, |_| ());
        }
        Some(message)
    }

    fn announce(&mut self, name: &'static str, data: &Members, at: DateTime<Utc>) {
        if self.announcing {
            self.events.push(Event {
                name,
                data: data.to_json(),
                at,
            });
        }
    }

    fn stamps(&mut self, now: DateTime<Utc>) -> Stamps {
        Stamps {
            created: now,
            updated: now,
            version: self.new_version(),
        }
    }

    fn new_version(&mut self) -> u64 {
        self.next_version += 1;
        self.next_version
    }

    fn new_id(&mut self, prefix: &str) -> (Key, String) {
        let key = self.next_key;
        self.next_key += 1;
        (
            key,
            format!("{prefix}_{:016x}", scramble(key ^ self.seed.rotate_left(32))),
        )
    }
}

fn has_tag(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|other| other == tag)
}

/// Spreads numbers over all 64 bits, no two to the same (the finalizer of `SplitMix64`), so that ids say nothing of
/// the order in which they were given.
pub(super) const fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
