//! The account as it is found: half a year of contacts and conversations, the same for the same seed.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::dialogues::{CLOSING_ENGLISH, CLOSING_ROMANIAN, TOPICS};
use super::people::{CHANNELS, CHATBOTS, COMPANIES, FAMILY, GIVEN, INDUSTRIES, PAGES, SOURCES, TAGS, plain};
use super::{
    Account, CATALOGUE, ContactDraft, Conversation, ConversationDraft, Key, MessageDraft, RESOLUTIONS, scramble,
};

impl Account {
    /// Fills an empty account.
    pub(super) fn generate(&mut self, now: DateTime<Utc>) {
        for at in self.moments(self.options.contacts, now) {
            let draft = self.somebody();
            let key = self.insert_contact(draft, at);
            if self.rng.random_bool(0.35) {
                let later = between(&mut self.rng, at, now);
                self.touch_contact(key, later);
            }
        }
        for at in self.moments(self.options.conversations, now) {
            self.talk(at, now);
        }
    }

    /// Random instants of the account's history, oldest first.
    fn moments(&mut self, count: usize, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let history = TimeDelta::from_std(self.options.history).unwrap_or(TimeDelta::days(180));
        let mut moments: Vec<_> = (0..count).map(|_| between(&mut self.rng, now - history, now)).collect();
        moments.sort_unstable();
        moments
    }

    /// A contact nobody has met yet.
    pub(super) fn somebody(&mut self) -> ContactDraft {
        let number = self.next_key;
        let rng = &mut self.rng;
        let (given, family) = (pick(rng, &GIVEN), pick(rng, &FAMILY));
        let host = pick(rng, &["exemplu.ro", "example.com", "firma-mea.ro", "mail.example.org"]);
        let email = format!("{}.{}{number}@{host}", plain(given), plain(family));
        let mut tags: Vec<String> = TAGS
            .iter()
            .filter(|_| rng.random_bool(0.15))
            .map(|tag| (*tag).to_owned())
            .collect();
        if rng.random_bool(0.3) && !tags.iter().any(|tag| tag == "lead") {
            tags.insert(0, "lead".to_owned());
        }
        let mut fields = json!({"source": pick(rng, &SOURCES)});
        if rng.random_bool(0.5) {
            fields["company"] = pick(rng, &COMPANIES).into();
            fields["industry"] = pick(rng, &INDUSTRIES).into();
        }
        if rng.random_bool(0.25) {
            fields["utm"] = json!({"source": "google", "campaign": "primăvară", "cost": 0.35});
        }
        let phone = format!("+407{:08}", rng.random_range(0..100_000_000_u32));
        ContactDraft {
            name: Some(format!("{given} {family}")),
            email: rng.random_bool(0.92).then_some(email),
            phone: rng.random_bool(0.7).then_some(phone),
            tags: Some(tags),
            custom_fields: Some(fields),
        }
    }

    /// Somebody opens a conversation: perhaps one of the contacts.
    pub(super) fn opened(&mut self, at: DateTime<Utc>) -> Key {
        let mut draft = ConversationDraft {
            chatbot_id: Some(pick(&mut self.rng, &CHATBOTS).to_owned()),
            channel: Some(CHANNELS[[0, 0, 0, 0, 1, 1, 2, 3][self.rng.random_range(0..8)]].to_owned()),
            metadata: Some(json!({"source": pick(&mut self.rng, &SOURCES), "page": pick(&mut self.rng, &PAGES)})),
            ..ConversationDraft::default()
        };
        if self.contacts.len() > 0 && self.rng.random_bool(0.7) {
            let known = self.rng.random_range(0..self.contacts.len());
            if let Some(contact) = self.contacts.at(known).and_then(|key| self.contacts.get(key)) {
                draft.contact_id = Some(contact.id.clone());
                draft.visitor_name.clone_from(&contact.name);
                draft.visitor_email.clone_from(&contact.email);
            }
        } else if self.rng.random_bool(0.5) {
            let stranger = self.somebody();
            draft.visitor_name = stranger.name;
            draft.visitor_email = stranger.email;
        }
        self.insert_conversation(draft, at)
    }

    /// The visitor says something, the bot answers.
    pub(super) fn exchange(&mut self, conversation: Key, closing: bool, at: DateTime<Utc>, answered: DateTime<Utc>) {
        let Some(known) = self.conversations.get(conversation) else {
            return;
        };
        let romanian = known.language == "ro";
        let content = if closing {
            let lines: &[&str] = if romanian { &CLOSING_ROMANIAN } else { &CLOSING_ENGLISH };
            pick(&mut self.rng, lines).to_owned()
        } else {
            question(known, self.messages(conversation).len() / 2)
        };
        let draft = MessageDraft {
            role: "visitor".to_owned(),
            content: content.clone(),
        };
        self.insert_message(conversation, draft, at);
        self.answer(conversation, &content, answered);
    }

    fn talk(&mut self, started: DateTime<Utc>, now: DateTime<Utc>) {
        let conversation = self.opened(started);
        let topic = TOPICS.choose(&mut self.rng).map_or("other", |topic| topic.name);
        let english = self.rng.random_bool(0.25);
        self.edit_conversation(conversation, started, |row| {
            row.topic = topic;
            row.language = if english { "en" } else { "ro" };
        });
        let count = self
            .options
            .messages_per_conversation
            .unwrap_or_else(|| self.rng.random_range(3..=20));
        let mut at = started;
        for said in 0..count / 2 {
            at = soon(&mut self.rng, at, 90, now);
            let answered = soon(&mut self.rng, at, 2, now);
            self.exchange(conversation, said > 0 && said + 1 == count / 2, at, answered);
            at = answered;
        }
        if count % 2 == 1 {
            at = soon(&mut self.rng, at, 120, now);
            let role = if self.rng.random_bool(0.5) { "visitor" } else { "agent" };
            let content = pick(&mut self.rng, &CLOSING_ROMANIAN).to_owned();
            self.insert_message(
                conversation,
                MessageDraft {
                    role: role.to_owned(),
                    content,
                },
                at,
            );
        }
        let recent = now - started < TimeDelta::days(2);
        if self.rng.random_bool(if recent { 0.4 } else { 0.97 }) {
            let resolution = RESOLUTIONS[[0, 0, 0, 0, 0, 1, 1, 2, 2, 3][self.rng.random_range(0..10)]];
            let closed = soon(&mut self.rng, at, 3600, now);
            self.edit_conversation(conversation, closed, |row| {
                "closed".clone_into(&mut row.status);
                row.resolution = Some(resolution.to_owned());
            });
            if self.rng.random_bool(0.3) {
                let score = [1, 2, 3, 4, 4, 5, 5, 5][self.rng.random_range(0..8)];
                let rated = soon(&mut self.rng, closed, 86_400, now);
                self.edit_conversation(conversation, rated, |row| row.score = Some(score));
            }
        }
    }
}

/// What the visitor asks after `asked` questions: first about the topic, then about others; always about the same
/// product and order.
fn question(conversation: &Conversation, asked: usize) -> String {
    let number = scramble(conversation.key);
    let romanian = conversation.language == "ro";
    let begin = TOPICS
        .iter()
        .position(|topic| topic.name == conversation.topic)
        .unwrap_or_default();
    let topics = TOPICS.iter().cycle().skip(begin).take(TOPICS.len());
    let lines: Vec<&str> = topics
        .flat_map(|topic| if romanian { topic.romanian } else { topic.english })
        .copied()
        .collect();
    let product = CATALOGUE[usize::try_from(number % CATALOGUE.len() as u64).unwrap_or_default()].name;
    let order = format!("#{}", 10_000 + number % 90_000);
    lines[asked % lines.len()]
        .replace("{p}", product)
        .replace("{n}", &order)
}

/// One of a list that is not empty.
pub(super) fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(rng).copied().unwrap_or_default()
}

/// An instant between two.
pub(super) fn between(rng: &mut StdRng, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
    let span = (to - from).num_microseconds().unwrap_or_default().max(1);
    from + TimeDelta::microseconds(rng.random_range(0..span))
}

/// An instant within `seconds` after another, but not after `now`.
fn soon(rng: &mut StdRng, after: DateTime<Utc>, seconds: i64, now: DateTime<Utc>) -> DateTime<Utc> {
    (after + TimeDelta::microseconds(rng.random_range(1..seconds * 1_000_000))).min(now)
}
