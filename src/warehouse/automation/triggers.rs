//! What happened that rules may be about: noted in the transaction that stores it, so that nothing is missed and nothing
//! told twice, whoever stored it and whichever program looks at it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::payloads::storable;
use super::super::statement::{Conn, Statement, on, reading};
use super::super::values::Stamp;
use crate::allai::Resource;
use crate::allai::model::{Record, Row};

/// What a trigger or a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A contact.
    Contact,
    /// A conversation.
    Conversation,
    /// A message.
    Message,
    /// An event, by its key in the inbox.
    Event,
}

impl Subject {
    /// The word in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Conversation => "conversation",
            Self::Message => "message",
            Self::Event => "event",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Contact, Self::Conversation, Self::Message, Self::Event]
            .into_iter()
            .find(|subject| subject.as_str() == word)
    }

    const fn of(resource: Resource) -> Option<Self> {
        match resource {
            Resource::Contacts => Some(Self::Contact),
            Resource::Conversations => Some(Self::Conversation),
            Resource::Messages => Some(Self::Message),
            Resource::Analytics => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// What it is about.
    pub subject: Subject,
    /// The conversation of a message; else empty.
    pub conversation_id: String,
    /// Its id.
    pub id: String,
    /// What makes it another happening for the same id: when that changed.
    pub version: String,
    /// Whether the mirror had none of that id before.
    pub is_new: bool,
    /// When it was noted.
    pub noted_at: DateTime<Utc>,
}

/// By how much the API's clock may be behind ours, for what is too old to be noted: whoever decides knows it better.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::hours(1);

/// What of an account is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// What it may be about.
    pub subject: Subject,
    /// What happened longer ago, by the API's own word, is not noted: nobody wants an answer to last year's question.
    pub within: TimeDelta,
}

/// What is noted, by account; shared by all clones of a warehouse.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Interests {
    of: Arc<RwLock<HashMap<String, Vec<Interest>>>>,
    noted: watch::Sender<()>,
}

impl Interests {
    pub(in super::super) fn set(&self, interests: HashMap<String, Vec<Interest>>) {
        *self.of.write().unwrap_or_else(PoisonError::into_inner) = interests;
    }

    /// How old what is noted may be; `None` if nothing is.
    pub(in super::super) fn within(&self, account: &str, subject: Subject) -> Option<TimeDelta> {
        let interests = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let of_account = interests.get(account)?.iter();
        of_account
            .filter(|interest| interest.subject == subject)
            .map(|interest| interest.within)
            .max()
    }

    /// Tells whoever waits that something was noted, once it is committed.
    pub(in super::super) fn tell(&self) {
        self.noted.send_replace(());
    }

    /// The same for a resource.
    pub(in super::super) fn of(&self, account: &str, resource: Resource) -> Option<(Subject, TimeDelta)> {
        let subject = Subject::of(resource)?;
        Some((subject, self.within(account, subject)?))
    }
}

const NOTE: Statement = Statement::shared(
    "INSERT INTO automation_triggers (account, subject, conversation_id, id, version, is_new, noted_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
);
const NEXT: Statement = Statement::shared(
    "SELECT subject, conversation_id, id, version, is_new, noted_at FROM automation_triggers \
     WHERE account = $1 ORDER BY noted_at, subject, id LIMIT $2",
);
const TAKE: Statement = Statement::shared(
    "DELETE FROM automation_triggers WHERE account = $1 AND subject = $2 AND conversation_id = $3 AND id = $4 \
     AND version = $5",
);

pub(super) const STATEMENTS: &[Statement] = &[NOTE, NEXT, TAKE];

type Columns = (String, String, String, String, bool, DateTime<Utc>);

impl Trigger {
    /// An event that was applied, by its key.
    pub(in super::super) fn of_event(id: &str, at: DateTime<Utc>) -> Self {
        Self {
            subject: Subject::Event,
            conversation_id: String::new(),
            id: id.to_owned(),
            version: String::new(),
            is_new: true,
            noted_at: at,
        }
    }

    /// What a row that was written at `at` is to rules; `None` if it is older than `within`, or new to the mirror and nobody knows
    /// how old.
    pub(in super::super) fn of_row(
        row: &Row,
        (subject, within): (Subject, TimeDelta),
        is_new: bool,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let happened = match row.record() {
            Record::Message(message) => message.sent_at,
            _ if is_new => row.created_at(),
            _ => row.updated_at(),
        };
        let since = now
            .checked_sub_signed(within)
            .and_then(|since| since.checked_sub_signed(CLOCKS_DIFFER));
        let is_old = happened
            .zip(since)
            .map_or(happened.is_none() && is_new, |(happened, since)| happened < since);
        if is_old {
            return None;
        }
        Some(Self {
            subject,
            conversation_id: row.conversation_id().unwrap_or_default().to_owned(),
            id: row.id().to_owned(),
            version: at.timestamp_micros().to_string(),
            is_new,
            noted_at: at,
        })
    }
}

/// Notes triggers, as part of a transaction.
pub(in super::super) async fn note_in(conn: &mut Conn<'_>, account: &str, triggers: &[Trigger]) -> Result<(), Error> {
    for trigger in triggers {
        on!(conn, inner, dialect => sqlx::query(NOTE.of(dialect))
            .bind(account)
            .bind(trigger.subject.as_str())
            .bind(storable(&trigger.conversation_id))
            .bind(storable(&trigger.id))
            .bind(&trigger.version)
            .bind(trigger.is_new)
            .bind(Stamp(trigger.noted_at))
            .execute(inner)
            .await
            .map(drop))
        .doing("noting what rules may be about")?;
    }
    Ok(())
}

/// Takes triggers away, as part of the transaction that stores what rules make of them.
pub(super) async fn take_in(conn: &mut Conn<'_>, account: &str, trigger: &Trigger) -> Result<(), Error> {
    on!(conn, inner, dialect => sqlx::query(TAKE.of(dialect))
        .bind(account)
        .bind(trigger.subject.as_str())
        .bind(&trigger.conversation_id)
        .bind(&trigger.id)
        .bind(&trigger.version)
        .execute(inner)
        .await
        .map(drop))
    .doing("taking what rules were asked about")
}

impl Warehouse {
    /// Says what of each account is noted from now on, by all clones of this warehouse.
    pub fn set_interests(&self, interests: HashMap<String, Vec<Interest>>) {
        self.interests().set(interests);
    }

    /// Changes whenever this program has noted something.
    pub fn news(&self) -> watch::Receiver<()> {
        self.interests().noted.subscribe()
    }

    /// What happened and was not asked about yet, the first first.
    pub async fn triggers(&self, account: &str, most: u32) -> Result<Vec<Trigger>, Error> {
        let rows: Vec<Columns> = reading!(self, pool, dialect => sqlx::query_as(NEXT.of(dialect))
            .bind(account)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await)
        .doing("reading what rules may be about")?;
        let trigger = |(subject, conversation_id, id, version, is_new, noted_at): Columns| {
            Some(Trigger {
                subject: Subject::parse(&subject)?,
                conversation_id,
                id,
                version,
                is_new,
                noted_at,
            })
        };
        Ok(rows.into_iter().filter_map(trigger).collect())
    }
}
