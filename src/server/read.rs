//! What is read from the warehouse for many at once.
//!
//! Whoever asks while a read is under way waits for that one; whoever asks soon after it gets what it read. So a hundred
//! viewers cost what one costs, and a database that hangs has one question to answer, not one for each viewer. Nobody waits
//! without end: the read goes on without those who had no more time, and is given up at last.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::clock::SharedClock;
use crate::warehouse;

/// The longest that something is fresh because it took long to read.
const LONGEST: Duration = Duration::from_mins(1);

/// How something is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long what was read is fresh, …
    pub(super) fresh: Duration,
    /// … or this many times what the read took, if that is longer: one that is costly is rare.
    pub(super) rest: u32,
    /// How long a read may take, even if nobody waits for it any more: a connection may be dead without anybody knowing.
    pub(super) given_up: Duration,
}

/// Why there is nothing to show.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Problem {
    /// The database's own words.
    #[error(transparent)]
    Failed(Arc<warehouse::Error>),
    /// It says nothing.
    #[error("the database does not answer: it was asked {} s ago", .0.as_secs())]
    Silent(Duration),
}

impl From<warehouse::Error> for Problem {
    fn from(error: warehouse::Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

type Read<T> = Result<Arc<T>, Problem>;
type Reader<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T, Problem>> + Send + Sync>;

/// Something that is read when somebody asks.
pub(super) struct Cached<T> {
    clock: SharedClock,
    terms: Terms,
    reader: Reader<T>,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    /// What was read last, and until when it is fresh.
    last: Option<(Arc<T>, Duration)>,
    running: Option<Running<T>>,
    /// How many reads were begun.
    begun: u64,
}

/// A read under way.
struct Running<T> {
    ended: watch::Receiver<Option<Read<T>>>,
    task: AbortHandle,
}

impl<T> Running<T> {
    /// Whether it will never tell what it read: it panicked.
    fn broke_off(&self) -> bool {
        self.ended.has_changed().is_err()
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Cached<T> {
    /// Nothing is read yet.
    pub(super) fn new<F>(clock: &SharedClock, terms: Terms, reader: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        Self {
            clock: Arc::clone(clock),
            terms,
            reader: Box::new(move || Box::pin(reader())),
            state: Arc::new(Mutex::new(State {
                last: None,
                running: None,
                begun: 0,
            })),
        }
    }

    /// What is fresh, or is read now. Waits for so long.
    pub(super) async fn get(&self, within: Duration) -> Result<Arc<T>, Problem> {
        let mut ended = {
            let mut state = lock(&self.state);
            if let Some((last, until)) = &state.last
                && self.clock.monotonic() < *until
            {
                return Ok(Arc::clone(last));
            }
            match &state.running {
                Some(running) if !running.broke_off() => running.ended.clone(),
                _ => self.begin(&mut state),
            }
        };
        tokio::select! {
            () = self.clock.sleep(within) => Err(Problem::Silent(within)),
            ended = ended.wait_for(Option::is_some) => match ended.as_deref() {
                Ok(Some(read)) => read.clone(),
                Ok(None) | Err(_) => Err(Problem::Silent(within)),
            }
        }
    }

    /// What was read last, however long ago.
    pub(super) fn last(&self) -> Option<Arc<T>> {
        lock(&self.state).last.as_ref().map(|(last, _)| Arc::clone(last))
    }

    /// What was read is out of date.
    pub(super) fn expire(&self) {
        let mut state = lock(&self.state);
        if let Some((_, until)) = &mut state.last {
            *until = Duration::ZERO;
        }
        // One that is under way may have read it already: those who wait for it get it, and nobody else.
        state.begun += 1;
    }

    fn begin(&self, state: &mut State<T>) -> watch::Receiver<Option<Read<T>>> {
        state.begun += 1;
        let number = state.begun;
        let (sender, ended) = watch::channel(None);
        let (clock, terms) = (Arc::clone(&self.clock), self.terms);
        let kept_in = Arc::downgrade(&self.state);
        let read = (self.reader)();
        let task = tokio::spawn(async move {
            let since = clock.monotonic();
            let read = tokio::select! {
                read = read => read.map(Arc::new),
                () = clock.sleep(terms.given_up) => Err(Problem::Silent(terms.given_up)),
            };
            let now = clock.monotonic();
            let took = now.saturating_sub(since);
            let until = now + terms.fresh.max((took * terms.rest).min(LONGEST));
            if let Some(state) = Weak::upgrade(&kept_in) {
                let mut state = lock(&state);
                if let Ok(read) = &read {
                    let is_up_to_date = state.begun == number;
                    state.last = Some((Arc::clone(read), if is_up_to_date { until } else { Duration::ZERO }));
                }
                sender.send_replace(Some(read));
                state.running = None;
            }
        });
        state.running = Some(Running {
            ended: ended.clone(),
            task: task.abort_handle(),
        });
        ended
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;
    use crate::clock::SystemClock;

    const LONG: Duration = Duration::from_secs(20);

    const fn terms(fresh: Duration) -> Terms {
        Terms {
            fresh,
            rest: 0,
            given_up: LONG,
        }
    }

    /// Counts how often it is read; each read waits until it is let go.
    fn counted(fresh: Duration) -> (Arc<Cached<u64>>, Arc<Notify>) {
        let (reads, go) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let let_go = Arc::clone(&go);
        let cached = Cached::new(&SystemClock::shared(), terms(fresh), move || {
            let (reads, go) = (Arc::clone(&reads), Arc::clone(&let_go));
            async move {
                let number = reads.fetch_add(1, Ordering::Relaxed) + 1;
                go.notified().await;
                Ok(number)
            }
        });
        (Arc::new(cached), go)
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_read() {
        let (cached, go) = counted(LONG);
        go.notify_one();
        let all = join_all((0..100).map(|_| cached.get(LONG))).await;
        assert!(all.into_iter().all(|read| *read.unwrap() == 1));
        assert_eq!(*cached.get(LONG).await.unwrap(), 1);
        cached.expire();
        assert_eq!(cached.last().as_deref(), Some(&1));
        go.notify_one();
        assert_eq!(*cached.get(LONG).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_is_not_fresh_is_read_again() {
        let (cached, go) = counted(Duration::ZERO);
        for number in 1..4 {
            go.notify_one();
            assert_eq!(*cached.get(LONG).await.unwrap(), number);
        }
    }

    #[tokio::test]
    async fn a_read_goes_on_without_those_who_had_no_time() {
        let (cached, go) = counted(LONG);
        for _ in 0..3 {
            let silent = cached.get(Duration::from_millis(5)).await.unwrap_err();
            assert!(silent.to_string().contains("does not answer"), "{silent}");
        }
        go.notify_one();
        assert_eq!(*cached.get(LONG).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_of_which_nothing_is_heard_is_given_up() {
        let (cached, go) = counted(LONG);
        let given_up = Duration::from_millis(5);
        let cached = Cached {
            terms: Terms {
                given_up,
                ..cached.terms
            },
            ..Arc::into_inner(cached).unwrap()
        };
        assert!(matches!(cached.get(LONG).await, Err(Problem::Silent(after)) if after == given_up));
        go.notify_one();
        assert_eq!(*cached.get(LONG).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_kept() {
        let fails = Arc::new(AtomicU64::new(1));
        let left = Arc::clone(&fails);
        let cached = Cached::new(&SystemClock::shared(), terms(LONG), move || {
            let fails = left.swap(0, Ordering::Relaxed) > 0;
            async move {
                if fails {
                    Err(warehouse::Error::NotMigrated.into())
                } else {
                    Ok(())
                }
            }
        });
        assert!(matches!(cached.get(LONG).await, Err(Problem::Failed(_))));
        assert!(cached.get(LONG).await.is_ok());
    }

    #[tokio::test]
    async fn a_read_that_panics_is_made_again() {
        let left = AtomicU64::new(1);
        let cached = Cached::new(&SystemClock::shared(), terms(LONG), move || {
            let panics = left.swap(0, Ordering::Relaxed) > 0;
            async move {
                assert!(!panics, "as it should");
                Ok(())
            }
        });
        cached.get(LONG).await.unwrap_err();
        assert!(cached.get(LONG).await.is_ok());
    }

    #[tokio::test]
    async fn what_an_order_has_made_out_of_date_is_not_kept() {
        let (cached, go) = counted(LONG);
        cached.get(Duration::from_millis(5)).await.unwrap_err();
        cached.expire();
        go.notify_one();
        assert_eq!(*cached.get(LONG).await.unwrap(), 1);
        go.notify_one();
        assert_eq!(*cached.get(LONG).await.unwrap(), 2);
    }
}
