//! From the listener to the disk: events that arrive at the same time are stored in one commit.
//!
//! Each waits in a queue for one task, which takes all that are there and stores them in one transaction that reaches the
//! disk; while it does, the next ones gather. So under load a commit is shared by as many as arrive in the time of one.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::warehouse::{NewEvent, Warehouse};

/// At most so many events are stored in one transaction.
const AT_ONCE: usize = 512;
/// How many may wait.
const WAITING: usize = 4_096;
/// How many bytes of bodies may wait, in KiB.
const WAITING_KIB: usize = 64 << 10;

/// Why an event is not ours: its sender will try again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotStored {
    /// More is waiting than can be stored in time.
    #[error("more events are waiting than can be stored in time")]
    Full,
    /// The warehouse did not take it.
    #[error("the warehouse does not take it: {0}")]
    Warehouse(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Where events are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Waiting {
    event: NewEvent,
    answer: Answer,
}

/// Who waits for an event to be stored, and its part of the memory that may wait.
#[derive(Debug)]
struct Answer {
    to: oneshot::Sender<Result<(), NotStored>>,
    _room: OwnedSemaphorePermit,
}

/// Stores what is handed in.
#[derive(Debug)]
pub struct Storing {
    queue: mpsc::Receiver<Waiting>,
    warehouse: Warehouse,
    arrived: Arc<Notify>,
}

impl Inbox {
    /// An inbox, and the work to be done for it; `arrived` is notified when there is something new to apply.
    pub fn new(warehouse: Warehouse, arrived: Arc<Notify>) -> (Self, Storing) {
        let (sender, queue) = mpsc::channel(WAITING);
        let inbox = Self {
            queue: sender,
            room: Arc::new(Semaphore::new(WAITING_KIB)),
        };
        let storing = Storing {
            queue,
            warehouse,
            arrived,
        };
        (inbox, storing)
    }

    /// Stores an event. When this returns without an error, the event is on the disk. Given up by its caller before it is
    /// taken from the queue, it is not stored.
    pub async fn store(&self, event: NewEvent) -> Result<(), NotStored> {
        let kib = u32::try_from(event.body.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib);
        let (to, answered) = oneshot::channel();
        let answer = Answer {
            to,
            _room: room.map_err(|_| NotStored::Full)?,
        };
        self.queue
            .try_send(Waiting { event, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NotStored::Full,
                mpsc::error::TrySendError::Closed(_) => NotStored::Stopping,
            })?;
        answered.await.unwrap_or(Err(NotStored::Stopping))
    }
}

impl Storing {
    /// Stores what is handed in, until every [`Inbox`] is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, AT_ONCE).await > 0 {
            // Whoever has given up has been told to come back.
            batch.retain(|waiting| !waiting.answer.to.is_closed());
            if batch.is_empty() {
                continue;
            }
            let (events, answers): (Vec<NewEvent>, Vec<Answer>) =
                batch.drain(..).map(|waiting| (waiting.event, waiting.answer)).unzip();
            let stored = self.warehouse.store_events(&events).await;
            let stored = stored.map_err(|error| NotStored::Warehouse(error.to_string()));
            if let Err(error) = &stored {
                tracing::error!(webhook.events = events.len(), "events are not stored: {error}");
            }
            for answer in answers {
                answer.to.send(stored.clone().map(drop)).ok();
            }
            if stored.is_ok_and(|new| new > 0) {
                self.arrived.notify_one();
            }
        }
    }
}
