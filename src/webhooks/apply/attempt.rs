//! One attempt to apply the open events of an entity: one fetch for all of them, and what becomes of each.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::allai::{self, Patience};
use crate::schedule::retry_wait;
use crate::sync;
use crate::sync::refresh::{Pulse, Refreshed, Refresher};
use crate::warehouse::{ClaimedEntity, ClaimedEvent, Ended, Ending, Entity, Payload};
use crate::webhooks::{payload, read_event};

/// An event that could not be applied so often is given up.
pub(super) const MOST_ATTEMPTS: u32 = 8;
/// During how many applications of an event programs may end before it is held to be the reason. Power cuts are not events'
/// fault, and killing a daemon a hundred times in a row hits the same event now and then: this takes a day of it, since the
/// warehouse has it wait longer each time.
const MOST_CRASHES: u32 = 50;
/// After how many seconds an event is tried again that was tried once, twice, …
const WAITS: [i64; 7] = [1, 5, 30, 120, 600, 3_600, 4 * 3_600];
/// So often an entity is given up soon that the API does not answer for, …
const HASTY_ATTEMPTS: u32 = 2;
/// … which is after this.
const HASTY: Duration = Duration::from_secs(10);
/// Within one attempt, a request is repeated so often at most: an attempt is repeated later.
const REQUESTS: u32 = 3;
/// After how many seconds a conversation is asked for again that the API does not have, or not yet: one may be told of before
/// every server of the API has it. After that, the next sync has to find it.
const ABSENT_WAITS: [i64; 2] = [5, 75];
/// So it is asked for so often.
const ASKS_FOR_ABSENT: u32 = 3;
/// What the key may not read is asked for again after this: somebody may give it the permission.
const FORBIDDEN_AGAIN: TimeDelta = TimeDelta::minutes(10);
/// No pause that the API asks for in an answer about one thing is longer.
const LONGEST_PAUSE: TimeDelta = TimeDelta::days(1);
/// A contact is searched for by so many texts at most.
const MOST_SEARCHES: usize = 6;

const ABSENT: &str = "the API has no such conversation (any more)";
const SEARCHED: &str = "the API's search did not find the contact: a sync of the contacts was asked for";

/// What an attempt found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is applied.
    Applied,
    /// The API does not have the conversation.
    Absent,
    /// The contact was not found: a sync of the contacts is needed.
    NeedsContacts,
    /// It failed, and that is the events' own fault, as far as can be told.
    Failed(String),
    /// It failed, and the API wants to be left alone with it for so long.
    Postponed(TimeDelta, String),
    /// Nothing can be made of it: it was dead when it came, and is so again.
    Unreadable(String),
    /// The key may not read this.
    Forbidden(String),
    /// Nothing of the account can be applied just now.
    Trouble(Trouble, String),
    /// It was stopped.
    Stopped,
}

/// Why nothing of an account can be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The API refuses the key.
    Key,
    /// The API does not answer.
    Api,
    /// The warehouse does not answer, or cannot store.
    Warehouse,
}

/// Fetches what the events are about and stores it.
pub(super) async fn attempt(refresher: &Refresher, claimed: &ClaimedEntity, cancelled: &CancellationToken) -> Verdict {
    if let Some(problem) = unreadable(claimed) {
        return Verdict::Unreadable(problem);
    }
    let patient = refresher.with_patience(patience(claimed));
    match caught(refresh(&patient, claimed, cancelled)).await {
        Some(Ok(Refreshed::Stored)) => Verdict::Applied,
        Some(Ok(Refreshed::NotThere)) => Verdict::Absent,
        Some(Ok(Refreshed::NotFound)) => Verdict::NeedsContacts,
        Some(Ok(Refreshed::Unsettled)) => {
            Verdict::Failed("other programs stored it as fast as it could be asked for".to_owned())
        }
        Some(Err(error)) => judge(error, refresher, cancelled).await,
        // The panic's own message is in the log.
        None => Verdict::Failed("applying it broke off; please report this".to_owned()),
    }
}

/// How long an entity is waited for: others wait for the hand that does.
fn patience(claimed: &ClaimedEntity) -> Patience {
    let attempts = claimed.events.iter().map(|event| event.attempts).max();
    let is_hasty = attempts.unwrap_or_default() <= HASTY_ATTEMPTS;
    Patience {
        answer: if is_hasty { HASTY } else { Duration::MAX },
        attempts: REQUESTS,
    }
}

/// Why nothing can be made of an event that somebody wants to be tried again.
pub(super) fn unreadable(claimed: &ClaimedEntity) -> Option<String> {
    let Entity::Event(_) = claimed.entity else { return None };
    let read = |event: &ClaimedEvent| read_event("", event.body.as_bytes(), event.received_at);
    claimed.events.iter().find_map(|event| read(event).problem)
}

/// Does `work`; `None` if it panics, which must not end whoever applies the other events.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(Box::pin(work)).catch_unwind().await.ok()
}

async fn refresh(
    refresher: &Refresher,
    claimed: &ClaimedEntity,
    cancelled: &CancellationToken,
) -> Result<Refreshed, sync::Error> {
    match &claimed.entity {
        Entity::Conversation(id) => refresher.conversation(id, cancelled).await,
        Entity::Contact(id) => {
            // The last event knows best.
            let mut searches: Vec<String> = Vec::new();
            for search in claimed
                .events
                .iter()
                .rev()
                .flat_map(|event| payload::searches(id, event))
            {
                if searches.len() < MOST_SEARCHES && !searches.contains(&search) {
                    searches.push(search);
                }
            }
            refresher.contact(id, &searches, cancelled).await
        }
        Entity::Event(_) => Ok(Refreshed::Stored),
    }
}

async fn judge(error: sync::Error, refresher: &Refresher, cancelled: &CancellationToken) -> Verdict {
    let said = match &error {
        sync::Error::Api(error) => sync::explain(&refresher.account().name, error),
        error => error.to_string(),
    };
    match error {
        sync::Error::Cancelled => Verdict::Stopped,
        sync::Error::Warehouse(error) if error.is_about_the_data() => Verdict::Failed(said),
        sync::Error::Warehouse(_) => Verdict::Trouble(Trouble::Warehouse, said),
        sync::Error::Api(error) => judge_answer(&error, said, refresher, cancelled).await,
        sync::Error::Endless(_) => Verdict::Failed(said),
    }
}

/// What an answer means, or that there was none: whether it is about what was asked for, or about everything, is told by an
/// answer to something else.
async fn judge_answer(
    error: &allai::Error,
    said: String,
    refresher: &Refresher,
    cancelled: &CancellationToken,
) -> Verdict {
    match error {
        error if is_of_the_account(error) => return Verdict::Trouble(Trouble::Api, said),
        allai::Error::Unauthorized { .. }
        | allai::Error::Forbidden { .. }
        | allai::Error::Redirected { .. }
        | allai::Error::Postponed { .. }
        | allai::Error::Server { .. }
        | allai::Error::Transport { .. }
        | allai::Error::InvalidBody { .. } => {}
        _ => return Verdict::Failed(said),
    }
    let is_forbidden = matches!(error, allai::Error::Forbidden { .. });
    match refresher.pulse(cancelled).await {
        None => Verdict::Stopped,
        Some(Pulse::RefusesKey) => Verdict::Trouble(Trouble::Key, said),
        Some(Pulse::Forbids | Pulse::Away) if is_forbidden => Verdict::Forbidden(said),
        Some(Pulse::Away) => Verdict::Trouble(Trouble::Api, said),
        Some(Pulse::Answers | Pulse::Forbids) => match error {
            allai::Error::Forbidden { .. } => Verdict::Postponed(FORBIDDEN_AGAIN, said),
            allai::Error::Postponed { wait, .. } => Verdict::Postponed(bounded(*wait), said),
            _ => Verdict::Failed(said),
        },
    }
}

/// Whether the API's answer, or that there was none, is the same whatever is asked for: there is no connection, or the key's
/// limit is spent.
fn is_of_the_account(error: &allai::Error) -> bool {
    match error {
        allai::Error::RateLimited { .. } => true,
        allai::Error::Postponed { status, .. } => *status == StatusCode::TOO_MANY_REQUESTS,
        allai::Error::Transport { source, .. } => source.never_sent(),
        _ => false,
    }
}

fn bounded(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait).map_or(LONGEST_PAUSE, |wait| wait.min(LONGEST_PAUSE))
}

/// What becomes of events, and what they tell: that needs no answer from the API.
pub(super) fn endings(claimed: &ClaimedEntity, verdict: &Verdict, now: DateTime<Utc>) -> (Vec<Ending>, Vec<Payload>) {
    let mut endings: Vec<Ending> = Vec::new();
    let mut told = Vec::new();
    for event in &claimed.events {
        let mut ended = ended(event, verdict, now);
        match payload::told(&claimed.entity, event) {
            Ok(payload) => told.extend(payload),
            Err(problem) if matches!(ended, Ended::Done(_)) => ended = Ended::Dead(problem),
            Err(_) => {}
        }
        let id = event.id.clone();
        match endings.iter_mut().find(|ending| ending.ended == ended) {
            Some(ending) => ending.ids.push(id),
            None => endings.push(Ending { ids: vec![id], ended }),
        }
    }
    (endings, told)
}

fn ended(event: &ClaimedEvent, verdict: &Verdict, now: DateTime<Utc>) -> Ended {
    // An event that was claimed along, not being due, has not used up an attempt.
    let not_counted = |due_at, problem: &str| Ended::Later {
        due_at,
        problem: problem.to_owned(),
        counts: !event.is_due(),
    };
    match verdict {
        Verdict::Applied => Ended::Done(None),
        Verdict::NeedsContacts => Ended::Done(Some(SEARCHED.to_owned())),
        Verdict::Absent if event.attempts >= ASKS_FOR_ABSENT => Ended::Done(Some(ABSENT.to_owned())),
        Verdict::Absent => again(now + retry_wait(event.attempts, &ABSENT_WAITS), ABSENT),
        Verdict::Failed(problem) | Verdict::Postponed(_, problem)
            if event.attempts >= MOST_ATTEMPTS && event.is_due() =>
        {
            Ended::Dead(format!(
                "given up after {MOST_ATTEMPTS} attempts: {problem}; once that is mended: allai-sync webhooks replay"
            ))
        }
        Verdict::Failed(problem) => again(next_attempt(event, now), problem),
        Verdict::Postponed(pause, problem) => again(next_attempt(event, now).max(now + *pause), problem),
        Verdict::Unreadable(problem) => Ended::Dead(problem.clone()),
        Verdict::Forbidden(problem) => not_counted(now + FORBIDDEN_AGAIN, problem),
        Verdict::Trouble(_, problem) => not_counted(now, problem),
        Verdict::Stopped => not_counted(now, "the program was stopped"),
    }
}

/// When an event is tried again that failed. One that was claimed along is so when it would have been: others that keep coming do
/// not put it off.
fn next_attempt(event: &ClaimedEvent, now: DateTime<Utc>) -> DateTime<Utc> {
    event
        .due_later
        .unwrap_or_else(|| now + retry_wait(event.attempts, &WAITS))
}

fn again(due_at: DateTime<Utc>, problem: &str) -> Ended {
    Ended::Later {
        due_at,
        problem: problem.to_owned(),
        counts: true,
    }
}

/// Parts the events that have ended the program, or were claimed when it ended, too often from the others.
pub(super) fn without_deadly(mut claimed: ClaimedEntity) -> (ClaimedEntity, Option<Ending>) {
    let (deadly, rest): (Vec<_>, Vec<_>) = claimed
        .events
        .into_iter()
        .partition(|event| event.crashes > MOST_CRASHES);
    claimed.events = rest;
    let ending = (!deadly.is_empty()).then(|| Ending {
        ids: deadly.into_iter().map(|event| event.id).collect(),
        ended: Ended::Dead(format!(
            "the program ended {MOST_CRASHES} times while this was being applied; look for the reason in its log, then: \
             allai-sync webhooks replay"
        )),
    });
    (claimed, ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: DateTime<Utc> = DateTime::from_timestamp(7, 0).unwrap();

    fn event(attempts: u32, is_due: bool) -> ClaimedEvent {
        ClaimedEvent {
            id: format!("{attempts}"),
            event: Some("message.sent".to_owned()),
            occurred_at: None,
            received_at: DateTime::UNIX_EPOCH,
            body: "{}".to_owned(),
            attempts,
            crashes: 0,
            due_later: (!is_due).then_some(LATER),
        }
    }

    #[test]
    fn an_event_waits_longer_each_time_and_is_dead_after_the_eighth() {
        let failed = Verdict::Failed("x".to_owned());
        let now = DateTime::UNIX_EPOCH;
        for (attempts, seconds) in [(1, 1), (2, 5), (3, 30), (4, 120), (5, 600), (6, 3_600), (7, 14_400)] {
            let Ended::Later { due_at, counts, .. } = ended(&event(attempts, true), &failed, now) else {
                panic!("not tried again after {attempts}");
            };
            let wait = (due_at - now).as_seconds_f64();
            let expected = f64::from(seconds);
            assert!(
                wait >= 0.79 * expected && wait <= 1.21 * expected && counts,
                "{attempts}: {wait}"
            );
        }
        assert!(matches!(ended(&event(8, true), &failed, now), Ended::Dead(_)));
        // It was claimed along with one that was due, has an attempt left, and makes it when it would have.
        let Ended::Later { due_at, counts, .. } = ended(&event(8, false), &failed, now) else {
            panic!("given up");
        };
        assert_eq!((due_at, counts), (LATER, true));
    }

    #[tokio::test]
    async fn a_panic_is_a_failed_attempt_and_no_more() {
        assert_eq!(caught(async { panic!("on purpose") }).await, None::<()>);
        assert_eq!(caught(async { 1 }).await, Some(1));
    }

    #[test]
    fn what_is_not_an_events_fault_does_not_count() {
        let trouble = Verdict::Trouble(Trouble::Api, "x".to_owned());
        let counts = |is_due| match ended(&event(8, is_due), &trouble, DateTime::UNIX_EPOCH) {
            Ended::Later { counts, .. } => counts,
            other => panic!("{other:?}"),
        };
        // One that was not due was not counted when it was claimed.
        assert_eq!((counts(true), counts(false)), (false, true));
    }
}
