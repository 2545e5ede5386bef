//! Lookups that come while another is on its way wait, and are then asked all together: many at a time cost a vendor with a low
//! limit few requests.

use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::error::Error;

/// Those who wait, with what they want (`W`), for an answer (`A`).
pub(crate) struct Together<W, A> {
    waiting: Mutex<Vec<Waiting<W, A>>>,
    turn: tokio::sync::Mutex<()>,
}

type Waiting<W, A> = (W, oneshot::Sender<Result<A, Error>>);

impl<W, A> Default for Together<W, A> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<W, A> fmt::Debug for Together<W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

impl<W: Clone, A: Clone> Together<W, A> {
    /// The answer to `wanted`, which `fetch` asks for together with what others want, or others' `fetch` has asked for. Who
    /// gives up while it asks leaves it to the next to ask again. No answer is older than the question.
    pub(crate) async fn ask<F, T>(&self, wanted: W, fetch: F) -> Result<A, Error>
    where
        F: FnOnce(Vec<W>) -> T,
        T: Future<Output = Result<A, Error>>,
    {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.lock().push((wanted.clone(), answer));
            let turn = tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(answer) => return answer,
                    Err(_) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            match answered.try_recv() {
                Ok(answer) => return answer,
                Err(TryRecvError::Closed) => continue,
                Err(TryRecvError::Empty) => {}
            }
            // Who asks at this very moment comes along.
            tokio::task::yield_now().await;
            let waiting = mem::take(&mut *self.lock());
            let (wanted, answers): (Vec<W>, Vec<_>) =
                waiting.into_iter().filter(|(_, answer)| !answer.is_closed()).unzip();
            let outcome = fetch(wanted).await;
            for answer in answers {
                // Who is gone needs none.
                answer.send(outcome.clone()).ok();
            }
            drop(turn);
            return outcome;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting<W, A>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;
    use crate::time::sleep;

    #[tokio::test]
    async fn those_who_wait_are_asked_together_and_each_is_answered() {
        let together = Together::<usize, usize>::default();
        let fetches = Mutex::new(Vec::new());
        let ask = |wanted| {
            let fetches = &fetches;
            together.ask(wanted, move |all| async move {
                sleep(Duration::from_millis(5)).await;
                let count = all.len();
                fetches.lock().unwrap().push(all);
                Ok(count)
            })
        };
        let later = async {
            sleep(Duration::from_millis(1)).await;
            join_all((10..20).map(ask)).await
        };
        let (first, later) = tokio::join!(join_all((0..10).map(ask)), later);
        assert!(first.into_iter().all(|answer| answer.unwrap() == 10));
        assert!(later.into_iter().all(|answer| answer.unwrap() == 10));
        assert_eq!(fetches.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn who_gives_up_while_asking_leaves_it_to_the_next() {
        let together = Together::<&str, usize>::default();
        let stuck = together.ask("first", |_| std::future::pending());
        let next = async {
            sleep(Duration::from_millis(2)).await;
            together.ask("next", |all| async move { Ok(all.len()) }).await
        };
        let (gone, next) = tokio::join!(tokio::time::timeout(Duration::from_millis(10), stuck), next);
        assert!(gone.is_err());
        assert_eq!(next.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_everybodys() {
        let together = Together::<usize, usize>::default();
        let ask = |wanted| {
            together.ask(wanted, |_| async {
                Err(Error::RateLimited {
                    system: "test",
                    retry_after: None,
                })
            })
        };
        for answer in join_all((0..3).map(ask)).await {
            assert!(matches!(answer, Err(Error::RateLimited { .. })));
        }
    }
}
