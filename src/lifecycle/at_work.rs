//! What a daemon does beside its schedules, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;

/// Tasks at work; dropped, they are told to stop.
#[derive(Debug)]
pub(super) struct AtWork {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    clock: SharedClock,
}

impl AtWork {
    /// None yet.
    pub(super) fn new(clock: &SharedClock) -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: Vec::new(),
            clock: Arc::clone(clock),
        }
    }

    /// Begins one, which ends when its token is cancelled.
    pub(super) fn begin<F>(&mut self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.push(tokio::spawn(work(self.stop.clone())));
    }

    /// Lets others take over: they have begun already. What is under way ends, `within` that time.
    pub(super) async fn give_way(&mut self, to: Self, within: Duration) {
        std::mem::replace(self, to).stop(within).await;
    }

    /// Ends what is under way, `within` that time.
    pub(super) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut self.tasks);
        let handles: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        tokio::select! {
            ended = join_all(tasks) => {
                for error in ended.into_iter().filter_map(Result::err) {
                    tracing::error!("something that was at work broke off: {error}; please report this");
                }
            }
            () = self.clock.sleep(within) => handles.iter().for_each(tokio::task::AbortHandle::abort),
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
