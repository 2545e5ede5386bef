//! Asking again for what an event is about, and storing it as a sweep would.
//!
//! An event is a hint: what is stored is what the API answers now. Where something else stores the same row meanwhile, the
//! row is asked for until it is clear which of the answers is the newer one.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::messages::{self, Learned};
use super::single::{self, Single};
use super::{Account, Error, Job, Options, Progress, Run, Tally};
use crate::allai::{self, ListQuery, Listing, Priority, Resource};
use crate::clock::SharedClock;
use crate::warehouse::{HeldRow, HeldValue, Warehouse, columns};

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

/// What is needed to ask for single entities of an account.
#[derive(Clone, Debug)]
pub struct Refresher {
    account: Arc<Account>,
    warehouse: Warehouse,
    clock: SharedClock,
    learned: Arc<Mutex<Learned>>,
}

impl Refresher {
    /// For an account, and where its rows go.
    pub fn new(account: Arc<Account>, warehouse: Warehouse, clock: SharedClock) -> Self {
        Self {
            account,
            warehouse,
            clock,
            learned: Arc::default(),
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

    /// Whether the API answers at all, as long as `cancelled` does not come first.
    pub async fn api_answers(&self, cancelled: &CancellationToken) -> bool {
        let query = ListQuery {
            limit: 1,
            ..ListQuery::default()
        };
        let client = self.account.client.with_priority(Priority::Event);
        tokio::select! {
            biased;
            () = cancelled.cancelled() => false,
            answer = client.list(&Listing::Conversations, &query) => match answer {
                Ok(_) => true,
                // That is an answer, too.
                Err(error) => error.stops_account() || matches!(error, allai::Error::BadRequest { .. }),
            },
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
            client: self.account.client.with_priority(Priority::Event),
            tally: Mutex::new(Tally::default()),
        }
    }
}
