//! Passing applied events on to NATS `JetStream`, for consumers that outgrow one machine.
//!
//! An event goes to `SUBJECT.ACCOUNT.TYPE` with its body as it came, once it is applied, and is noted as passed on when the
//! stream has acknowledged it: so at least once. Its key is the message's id, by which `JetStream` drops what comes twice
//! within two minutes (<https://docs.nats.io/using-nats/developer/develop_jetstream/model_deep_dive#message-deduplication>).

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config;
use crate::nats::{self, Target};
use crate::warehouse::{self, ClaimedEvent, Entity, Warehouse};

/// Events that are on their way at a time.
const AT_ONCE: u32 = 256;
/// How often is looked for more when there was none.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What fails is tried again after this, and then later and later, …
const RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const SELDOM: Duration = Duration::from_mins(1);

/// Passes events on.
#[derive(Debug)]
pub struct Forwarder {
    warehouse: Warehouse,
    clock: SharedClock,
    accounts: Vec<String>,
    target: Target,
}

/// Why nothing is passed on.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The warehouse cannot be read or written.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
    /// The server does not do it.
    #[error(transparent)]
    Nats(#[from] nats::Error),
}

impl Forwarder {
    /// Passes on the events of these accounts.
    pub fn new(warehouse: Warehouse, clock: SharedClock, accounts: Vec<String>, nats: &config::Nats) -> Self {
        Self {
            warehouse,
            clock,
            accounts,
            target: Target::new(nats),
        }
    }

    /// Passes on what is applied, until `stop` is cancelled. A server that is away is waited for.
    pub async fn run(self, stop: CancellationToken) {
        let mut retry = RETRY;
        let mut is_failing = false;
        let mut connected = None;
        loop {
            let passing = self.pass_on(&mut connected);
            let passed = tokio::select! {
                passed = passing => passed,
                () = stop.cancelled() => return,
            };
            let pause = match passed {
                Ok(passed) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("events are passed on to NATS again");
                    }
                    retry = RETRY;
                    if passed > 0 { Duration::ZERO } else { LOOK_EVERY }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!("events are not passed on, and wait: {error}");
                    }
                    connected = None;
                    let pause = retry;
                    retry = (retry * 2).min(SELDOM);
                    pause
                }
            };
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Passes on what there is, up to a few hundred events of each account; says how many.
    async fn pass_on(&self, connected: &mut Option<jetstream::Context>) -> Result<usize, Error> {
        let mut passed = 0;
        for account in &self.accounts {
            let events = self.warehouse.unforwarded_events(account, AT_ONCE).await?;
            if events.is_empty() {
                continue;
            }
            let context = match connected {
                Some(context) => context,
                None => connected.insert(self.target.connect().await?),
            };
            let mut on_their_way = Vec::with_capacity(events.len());
            for (entity, event) in events {
                let subject = self.target.subject_of(account, event.event.as_deref());
                let message = message(account, &entity, &event);
                let sent = match context.send_publish(subject.clone(), message).await {
                    Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                        tracing::warn!(
                            webhook.account = account,
                            webhook.event = event.id,
                            "an event is larger than the NATS server takes and is passed on without its body; raise its max_payload"
                        );
                        context
                            .send_publish(subject, without_body(account, &entity, &event))
                            .await
                    }
                    sent => sent,
                };
                on_their_way.push((event.id, sent.map_err(|error| self.target.failed(&error))?));
            }
            let (mut ids, mut failed) = (Vec::with_capacity(on_their_way.len()), None);
            for (id, acknowledged) in on_their_way {
                match acknowledged.await {
                    Ok(_) => ids.push(id),
                    Err(error) => failed = Some(self.target.failed(&error)),
                }
            }
            passed += ids.len();
            self.warehouse.events_forwarded(account, &ids).await?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok(passed)
    }
}

fn message(account: &str, entity: &Entity, event: &ClaimedEvent) -> PublishMessage {
    without_body(account, entity, event).payload(event.body.clone().into())
}

/// What the event is about, and how large its body is, which is in `webhook_events`.
fn without_body(account: &str, entity: &Entity, event: &ClaimedEvent) -> PublishMessage {
    let header = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    PublishMessage::build()
        .message_id(header(&format!("{account}/{}", event.id)))
        .header("Allai-Account", account)
        .header("Allai-Event-Id", header(&event.id))
        .header("Allai-Entity", header(&entity.to_column()))
        .header("Allai-Received-At", event.received_at.to_rfc3339())
        .header("Allai-Body-Bytes", event.body.len().to_string().as_str())
}
