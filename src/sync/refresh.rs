//! Asking again for what an event is about, and storing it as a sweep would.
//!
//! An event is a hint: what is stored is what the API answers now. Where something else stores the same row meanwhile, the
//! row is asked for until it is clear which of the answers is the newer one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::messages::{self, Learned};
use super::single::{self, Single};
use super::{Account, Error, Job, Options, Progress, Run, Tally};
use crate::allai::{self, Client, ListQuery, Listing, Patience, Priority, Resource};
use crate::clock::SharedClock;
use crate::warehouse::{HeldRow, HeldValue, Warehouse, columns};

/// How long the API may take to show that it answers.
const PULSE: Patience = Patience {
    answer: Duration::from_secs(10),
    attempts: 3,
};

/// What became of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It is stored as the API has it, or in quarantine.
    Stored,
    /// The API does not have it (404, 410).
    NotThere,
    /// The API does not find it by what it was searched by, which does not mean that it is not there.
    NotFound,
    /// Others store it faster than it can be asked for: ask again later.
    Unsettled,
}

/// What the API says to a question that is about nothing in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// It answers it, or says what is wrong with the question.
    Answers,
    /// It does not accept the key.
    RefusesKey,
    /// It does not let the key read the conversations.
    Forbids,
    /// It does not answer, is elsewhere, or wants to be left alone.
    Away,
}

/// What is needed to ask for single entities of an account.
#[derive(Clone, Debug)]
pub struct Refresher {
    account: Arc<Account>,
    warehouse: Warehouse,
    clock: SharedClock,
    learned: Arc<Mutex<Learned>>,
    patience: Option<Patience>,
    /// The last pulse, and when it was taken.
    pulse: Arc<tokio::sync::Mutex<Option<(Duration, Pulse)>>>,
}

impl Refresher {
    /// For an account, and where its rows go.
    pub fn new(account: Arc<Account>, warehouse: Warehouse, clock: SharedClock) -> Self {
        Self {
            account,
            warehouse,
            clock,
            learned: Arc::default(),
            patience: None,
            pulse: Arc::default(),
        }
    }

    /// The same, which gives up earlier.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self {
            patience: Some(patience),
            ..self.clone()
        }
    }

    /// The account.
    pub const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Asks for a conversation and then for its messages.
    ///
    /// # Errors
    ///
    /// As a run: the API does not answer, the warehouse does not store, or `cancelled` came first.
    pub async fn conversation(&self, id: &str, cancelled: &CancellationToken) -> Result<Refreshed, Error> {
        let (progress, name) = (Progress::default(), "event");
        let job = self.job(&progress, name, cancelled);
        let run = self.run(&job);
        let known = match single::conversation(&run, id, None, None).await? {
            Single::Stored(known) => known,
            Single::NotThere => return Ok(Refreshed::NotThere),
            Single::Doubtful(_) => return Ok(Refreshed::Unsettled),
        };
        // A conversation that the database cannot hold has messages that it can.
        let as_of = known.map(|known| known.content_hash);
        Box::pin(messages::read_one(&run, id, as_of, &self.learned)).await?;
        Ok(Refreshed::Stored)
    }

    /// Looks for a contact by these texts, and then by what the mirror knows of it, one after the other.
    ///
    /// # Errors
    ///
    /// As for [`conversation`](Self::conversation).
    pub async fn contact(
        &self,
        id: &str,
        searches: &[String],
        cancelled: &CancellationToken,
    ) -> Result<Refreshed, Error> {
        let (progress, name) = (Progress::default(), "event");
        let job = self.job(&progress, name, cancelled);
        let mut searches = searches.to_vec();
        for known in self.known_of_contact(id).await? {
            if !searches.contains(&known) {
                searches.push(known);
            }
        }
        Ok(match single::contact(&self.run(&job), id, None, &searches).await? {
            Single::Stored(_) => Refreshed::Stored,
            Single::NotThere => Refreshed::NotFound,
            Single::Doubtful(_) => Refreshed::Unsettled,
        })
    }

    /// E-mail address, telephone number and name of a contact, as far as they are mirrored.
    async fn known_of_contact(&self, id: &str) -> Result<Vec<String>, Error> {
        let resource = Resource::Contacts;
        let held = self
            .warehouse
            .held_rows(&self.account.name, resource, None, &[id])
            .await?;
        let value = |row: &HeldRow, name: &str| {
            let at = columns(resource).iter().position(|(column, _)| *column == name)?;
            match row.values.get(at)? {
                HeldValue::Text(text) if !text.trim().is_empty() => Some(text.clone()),
                _ => None,
            }
        };
        let known = held
            .first()
            .map(|row| ["email", "phone", "name"].map(|name| value(row, name)));
        Ok(known.into_iter().flatten().flatten().collect())
    }

    /// Whether the API answers at all, by one cheap question: those who want to know at the same time share the answer.
    /// `None` if `cancelled` comes first.
    pub async fn pulse(&self, cancelled: &CancellationToken) -> Option<Pulse> {
        let wanted_at = self.clock.monotonic();
        tokio::select! {
            biased;
            () = cancelled.cancelled() => None,
            pulse = self.pulse_since(wanted_at) => Some(pulse),
        }
    }

    async fn pulse_since(&self, wanted_at: Duration) -> Pulse {
        let mut last = self.pulse.lock().await;
        if let Some((taken_at, pulse)) = *last
            && taken_at >= wanted_at
        {
            return pulse;
        }
        let query = ListQuery {
            limit: 1,
            ..ListQuery::default()
        };
        let client = self.client().with_patience(PULSE);
        let pulse = match client.list(&Listing::Conversations, &query).await {
            Ok(_) | Err(allai::Error::BadRequest { .. }) => Pulse::Answers,
            Err(allai::Error::Unauthorized { .. }) => Pulse::RefusesKey,
            Err(allai::Error::Forbidden { .. }) => Pulse::Forbids,
            Err(_) => Pulse::Away,
        };
        *last = Some((self.clock.monotonic(), pulse));
        pulse
    }

    fn client(&self) -> Client {
        let client = self.account.client.with_priority(Priority::Event);
        match self.patience {
            Some(patience) => client.with_patience(patience),
            None => client,
        }
    }

    fn job<'a>(&'a self, progress: &'a Progress, trigger: &'a str, cancelled: &'a CancellationToken) -> Job<'a> {
        Job {
            account: &self.account,
            warehouse: &self.warehouse,
            clock: &self.clock,
            options: Options {
                full: false,
                allow_mass_delete: false,
            },
            trigger,
            progress,
            cancelled,
        }
    }

    fn run<'a>(&self, job: &'a Job<'a>) -> Run<'a> {
        Run {
            job,
            client: self.client(),
            tally: Mutex::new(Tally::default()),
        }
    }
}
