//! The account in the hands of a test: everything that people and programs elsewhere could do to it.

use std::sync::Arc;

use super::account::{
    ContactDraft, Conversation, ConversationDraft, Key, MessageDraft, MutationKinds, Oddity, Snapshot, text,
};
use super::api::Api;

/// The account behind a [`Sandbox`](super::Sandbox). Changes happen at once, at the server's time, and cause the same
/// webhooks as if they had come through the API. Methods that change a row say whether it exists.
#[derive(Clone, Debug)]
pub struct AccountHandle(pub(super) Arc<Api>);

impl AccountHandle {
    /// Creates a contact and gives its id.
    pub fn insert_contact(&self, draft: ContactDraft) -> String {
        self.0.with(|state, now| {
            let key = state.account.insert_contact(draft, now);
            state
                .account
                .contacts
                .get(key)
                .map(|row| row.id.clone())
                .unwrap_or_default()
        })
    }

    /// Changes a contact.
    pub fn update_contact(&self, id: &str, changes: ContactDraft) -> bool {
        self.0.with(|state, now| {
            let key = state.account.contacts.key_of(id);
            key.is_some_and(|key| state.account.update_contact(key, changes, now))
        })
    }

    /// Changes nothing of a contact but `updated_at`.
    pub fn touch_contact(&self, id: &str) -> bool {
        self.update_contact(id, ContactDraft::default())
    }

    /// Deletes a contact.
    pub fn delete_contact(&self, id: &str) -> bool {
        self.0.with(|state, _| {
            let key = state.account.contacts.key_of(id);
            key.is_some_and(|key| state.account.delete_contact(key))
        })
    }

    /// Takes a contact out of the list, or puts it back.
    pub fn hide_contact(&self, id: &str, hidden: bool) -> bool {
        self.0.with(|state, _| {
            let contacts = &mut state.account.contacts;
            contacts.key_of(id).is_some_and(|key| contacts.hide(key, hidden))
        })
    }

    /// Makes a contact odd: `member` is sent as this JSON text, whatever it is, or not at all with `None`.
    pub fn distort_contact(&self, id: &str, member: &str, json: Option<&str>) -> bool {
        self.0.with(|state, _| {
            let contacts = &mut state.account.contacts;
            let key = contacts.key_of(id);
            key.is_some_and(|key| contacts.edit(key, |row| distort(&mut row.odd, member, json)).is_some())
        })
    }

    /// Begins a conversation and gives its id.
    pub fn insert_conversation(&self, draft: ConversationDraft) -> String {
        self.0.with(|state, now| {
            let key = state.account.insert_conversation(draft, now);
            state
                .account
                .conversations
                .get(key)
                .map(|row| row.id.clone())
                .unwrap_or_default()
        })
    }

    /// Closes a conversation.
    pub fn close(&self, id: &str, resolution: &str) -> bool {
        self.edit(id, |row| {
            "closed".clone_into(&mut row.status);
            row.resolution = Some(resolution.to_owned());
        })
    }

    /// Opens a closed conversation again.
    pub fn reopen(&self, id: &str) -> bool {
        self.edit(id, |row| {
            "active".clone_into(&mut row.status);
            row.resolution = None;
        })
    }

    /// The visitor rates a conversation, 1 to 5.
    pub fn rate(&self, id: &str, score: u8) -> bool {
        self.edit(id, |row| row.score = Some(score))
    }

    /// Changes nothing of a conversation but `updated_at`.
    pub fn touch_conversation(&self, id: &str) -> bool {
        self.edit(id, |_| ())
    }

    /// Deletes a conversation with its messages.
    pub fn delete_conversation(&self, id: &str) -> bool {
        self.0.with(|state, _| {
            let key = state.account.conversations.key_of(id);
            key.is_some_and(|key| state.account.delete_conversation(key))
        })
    }

    /// Takes a conversation out of the lists, or puts it back; asked for by its id, the API knows it all the time.
    pub fn hide_conversation(&self, id: &str, hidden: bool) -> bool {
        self.0.with(|state, _| {
            let conversations = &mut state.account.conversations;
            conversations
                .key_of(id)
                .is_some_and(|key| conversations.hide(key, hidden))
        })
    }

    /// Makes a conversation odd, like [`distort_contact`](Self::distort_contact).
    pub fn distort_conversation(&self, id: &str, member: &str, json: Option<&str>) -> bool {
        self.0.with(|state, _| {
            let conversations = &mut state.account.conversations;
            let key = conversations.key_of(id);
            key.is_some_and(|key| {
                conversations
                    .edit(key, |row| distort(&mut row.odd, member, json))
                    .is_some()
            })
        })
    }

    /// Adds a message to a conversation and gives its id; `None` if there is no such conversation. The bot keeps
    /// quiet.
    pub fn insert_message(&self, conversation: &str, draft: MessageDraft) -> Option<String> {
        self.0.with(|state, now| {
            let key = state.account.conversations.key_of(conversation)?;
            Some(state.account.insert_message(key, draft, now)?.id)
        })
    }

    /// Deletes a message; the conversation's `updated_at` stays.
    pub fn delete_message(&self, conversation: &str, id: &str) -> bool {
        self.0.with(|state, _| {
            let key = state.account.conversations.key_of(conversation);
            key.is_some_and(|key| state.account.delete_message(key, id))
        })
    }

    /// Switches all webhooks off or on, as a server may do with those that fail too often.
    pub fn switch_webhooks(&self, active: bool) {
        self.0.with(|state, _| {
            for hook in &mut state.hooks {
                Arc::make_mut(hook).active = active;
            }
        });
    }

    /// Makes `count` random changes, the same for the same account and seed.
    pub fn mutate(&self, seed: u64, count: usize, what: &MutationKinds) {
        self.0.with(|state, now| state.account.mutate(seed, count, what, now));
    }

    /// The whole account as the API would render it now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.with(|state, _| state.account.snapshot())
    }

    /// The ids of all contacts, in the order of the list.
    pub fn contact_ids(&self) -> Vec<String> {
        self.0
            .with(|state, _| state.account.contacts.iter().map(|row| row.id.clone()).collect())
    }

    /// The ids of all conversations, in the order of the list.
    pub fn conversation_ids(&self) -> Vec<String> {
        self.0
            .with(|state, _| state.account.conversations.iter().map(|row| row.id.clone()).collect())
    }

    fn edit(&self, id: &str, change: impl FnOnce(&mut Conversation)) -> bool {
        self.0.with(|state, now| {
            let key: Option<Key> = state.account.conversations.key_of(id);
            key.is_some_and(|key| state.account.edit_conversation(key, now, change))
        })
    }
}

fn distort(odd: &mut Option<Box<Oddity>>, member: &str, json: Option<&str>) {
    let oddity = odd.get_or_insert_default();
    match json {
        Some(json) if serde_json::from_str::<&serde_json::value::RawValue>(json).is_ok() => {
            oddity.set.push((member.to_owned(), json.to_owned()));
        }
        Some(no_json) => oddity.set.push((member.to_owned(), text(no_json))),
        None => oddity.remove.push(member.to_owned()),
    }
}
