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
    /// The warehouse could not be used, for this reason. Says whether that goes on for so long that it is worth telling.
    pub(super) fn go_on(&mut self, problem: &str, clock: &SharedClock) -> bool {
        let now = clock.monotonic();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < SHORT {
            return false;
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
        true
    }

    /// The warehouse can be used.
    pub(super) fn end(&mut self, clock: &SharedClock) {
        self.since = None;
        if let Some(incident) = &mut self.incident {
            incident.resolved_at.get_or_insert(clock.now());
        }
    }

    /// Tells of it what is not told yet, unless that has just been tried in vain.
    pub(super) async fn tell(&mut self, notifier: &Notifier, clock: &SharedClock) {
        let now = clock.monotonic();
        let Some(incident) = &mut self.incident else { return };
        let is_due = |incident: &Incident| notifier.ways().into_iter().any(|way| incident.is_due(way));
        if is_due(incident) && self.tried_at.is_none_or(|at| now.saturating_sub(at) >= TELLING) {
            let incidents = std::slice::from_mut(incident);
            let problems = notifier.tell(incidents, None, clock, TELLING).await;
            self.tried_at = (!problems.is_empty()).then_some(now);
            for problem in problems {
                tracing::warn!("alerts were not delivered, they are tried again in two minutes: {problem}");
            }
        }
        if incident.resolved_at.is_some() && !is_due(incident) {
            (self.incident, self.tried_at) = (None, None);
        }
    }
}
