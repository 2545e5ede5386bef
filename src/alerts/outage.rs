//! A warehouse that cannot be used holds no incidents: what is told of that is kept in memory, by each daemon for itself.

use std::time::Duration;

use super::Notifier;
use crate::clock::SharedClock;
use crate::warehouse::{Incident, IncidentKind, TELLING, Told};

/// A restart takes seconds, a failover perhaps a minute: nobody needs to hear of those.
const SHORT: Duration = Duration::from_mins(1);

/// Since when the warehouse cannot be used, and whether somebody was told.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Duration>,
    tried_at: Option<Duration>,
    incident: Option<Incident>,
}

impl Outage {
    /// The warehouse could not be used, for this reason.
    pub(super) async fn go_on(&mut self, problem: &str, notifier: &Notifier, clock: &SharedClock) {
        let now = clock.monotonic();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < SHORT {
            return;
        }
        if self.incident.as_ref().is_some_and(|last| last.resolved_at.is_some()) {
            // Another one, before it could be told that the last one was over.
            (self.incident, self.tried_at) = (None, None);
        }
        self.incident.get_or_insert_with(|| Incident {
            account: String::new(),
            resource: String::new(),
            kind: IncidentKind::Warehouse,
            opened_at: clock.now(),
            summary: format!("the warehouse cannot be used, so that nothing is synced: {problem}"),
            remedy: "look at the database, its disk and the log; what was missed is made up for by itself".to_owned(),
            resolved_at: None,
            told: Told::default(),
        });
        self.tell(notifier, clock).await;
    }

    /// The warehouse can be used.
    pub(super) async fn end(&mut self, notifier: &Notifier, clock: &SharedClock) {
        self.since = None;
        if let Some(incident) = &mut self.incident {
            incident.resolved_at.get_or_insert(clock.now());
            self.tell(notifier, clock).await;
        }
        let ways = notifier.ways();
        let is_told = |incident: &Incident| !ways.iter().any(|way| incident.is_due(*way));
        if self.incident.as_ref().is_none_or(is_told) {
            *self = Self::default();
        }
    }

    /// Tells of it, unless that has just been tried in vain.
    async fn tell(&mut self, notifier: &Notifier, clock: &SharedClock) {
        let now = clock.monotonic();
        let Some(incident) = &mut self.incident else { return };
        let is_due = notifier.ways().into_iter().any(|way| incident.is_due(way));
        if !is_due || self.tried_at.is_some_and(|at| now.saturating_sub(at) < TELLING) {
            return;
        }
        let incidents = std::slice::from_mut(incident);
        let problems = notifier.tell(incidents, None, clock, TELLING).await;
        self.tried_at = (!problems.is_empty()).then_some(now);
        for problem in problems {
            tracing::warn!("alerts were not delivered, they are tried again in two minutes: {problem}");
        }
    }
}
