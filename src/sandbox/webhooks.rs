//! Delivering webhooks: signed, and again when they are not taken.
//!
//! From the guide: the signature is the hex HMAC-SHA256 of the body; what is not answered within 30 seconds is retried
//! three times with exponential backoff.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use url::Url;

use super::account::{Event, Members, scramble, text, time};
use super::api::Api;
use super::options::{WebhookForm, WebhookOptions};

/// The events of the guide.
pub(super) const EVENTS: [&str; 8] = [
    "conversation.started",
    "conversation.ended",
    "message.received",
    "message.sent",
    "lead.created",
    "lead.qualified",
    "handoff.requested",
    "satisfaction.rated",
];

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// A registered webhook.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) url: Url,
    pub(super) events: Vec<&'static str>,
    pub(super) secret: SecretString,
    pub(super) active: bool,
    pub(super) created: Option<DateTime<Utc>>,
}

impl Webhook {
    /// The webhook given on the command line, if one is.
    pub(super) fn from_options(options: &WebhookOptions) -> Option<Self> {
        Some(Self {
            id: "wh_command_line".to_owned(),
            url: options.url.clone()?,
            events: EVENTS.to_vec(),
            secret: options.secret.clone()?,
            active: true,
            created: None,
        })
    }

    pub(super) fn wants(&self, event: &str) -> bool {
        self.active && self.events.contains(&event)
    }
}

/// One attempt to deliver an event.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it was made, on the clock of the machine.
    pub at: DateTime<Utc>,
    /// The webhook's id.
    pub webhook: String,
    /// The event's id; the same in every attempt.
    pub id: String,
    /// The event's name.
    pub event: String,
    /// 0 for the first attempt, 1 to 3 for the retries.
    pub attempt: u32,
    /// The status that came back; `None` if none did.
    pub status: Option<u16>,
}

/// Where events wait for their delivery.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    queue: mpsc::UnboundedSender<Parcel>,
    /// How many deliveries are not finished.
    pending: Arc<watch::Sender<usize>>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
}

/// An event on its way to one webhook.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    event: Event,
    hook: Arc<Webhook>,
}

impl Outgoing {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Parcel>) {
        let (queue, parcels) = mpsc::unbounded_channel();
        let outgoing = Self {
            queue,
            pending: Arc::new(watch::Sender::new(0)),
            deliveries: Arc::default(),
        };
        (outgoing, parcels)
    }

    pub(super) fn send<'a>(&self, event: &Event, hooks: impl Iterator<Item = &'a Arc<Webhook>>) {
        for hook in hooks {
            let parcel = Parcel {
                event: event.clone(),
                hook: Arc::clone(hook),
            };
            self.pending.send_modify(|count| *count += 1);
            if self.queue.send(parcel).is_err() {
                self.done();
            }
        }
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Completes when every event has been delivered or given up.
    pub(super) async fn idle(&self) {
        let mut pending = self.pending.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        pending.wait_for(|count| *count == 0).await.ok();
    }

    fn done(&self) {
        self.pending.send_modify(|count| *count = count.saturating_sub(1));
    }

    fn note(&self, delivery: Delivery) {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delivery);
    }
}

/// Delivers what comes, all at once, until the sandbox is stopped (by dropping this future).
pub(super) async fn deliver_all(api: Arc<Api>, outgoing: Outgoing, mut parcels: mpsc::UnboundedReceiver<Parcel>) {
    #[expect(clippy::disallowed_methods, reason = "the sandbox is AllAI here, not its client")]
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else {
        tracing::error!("no HTTP client could be set up: webhooks are not delivered");
        return;
    };
    let mut tasks = JoinSet::new();
    let mut number = 0_u64;
    while let Some(parcel) = parcels.recv().await {
        number += 1;
        while tasks.try_join_next().is_some() {}
        let (api, outgoing, client) = (Arc::clone(&api), outgoing.clone(), client.clone());
        tasks.spawn(async move {
            deliver(&api, &outgoing, &client, &parcel, number).await;
            outgoing.done();
        });
    }
}

async fn deliver(api: &Api, outgoing: &Outgoing, client: &reqwest::Client, parcel: &Parcel, number: u64) {
    let (seed, options, format) = {
        let state = api.state();
        (
            state.options.seed,
            state.options.webhooks.clone(),
            state.account.time_format(),
        )
    };
    let mut rng = StdRng::seed_from_u64(scramble(seed ^ scramble(!number)));
    let id = format!("evt_{:016x}", scramble(number ^ seed));
    let event = &parcel.event;
    let mut body = Members::default();
    match options.form {
        WebhookForm::Plain => {
            body.push("id", text(&id));
            body.push("event", text(event.name));
            body.push("timestamp", time(event.at, format));
            body.push("data", event.data.clone());
        }
        WebhookForm::Other => {
            body.push("type", text(event.name));
            body.push("created_at", time(event.at, format));
            body.push("payload", event.data.clone());
        }
    }
    let body = body.to_json();
    let times = 1 + u32::from(rng.random_bool(options.duplicate_rate));
    for _ in 0..times {
        for attempt in 0..=RETRIES {
            let scaled = |time: Duration| time.mul_f64(options.time_scale.max(0.0));
            if attempt > 0 {
                api.clock.sleep(scaled(FIRST_BACKOFF * 2_u32.pow(attempt - 1))).await;
            }
            let status = post(client, &parcel.hook, &options, &body, scaled(ANSWER_WITHIN)).await;
            outgoing.note(Delivery {
                at: api.clock.now(),
                webhook: parcel.hook.id.clone(),
                id: id.clone(),
                event: event.name.to_owned(),
                attempt,
                status,
            });
            if status.is_some_and(|status| (200..300).contains(&status)) {
                break;
            }
        }
    }
}

async fn post(
    client: &reqwest::Client,
    hook: &Webhook,
    options: &WebhookOptions,
    body: &str,
    within: Duration,
) -> Option<u16> {
    let mut mac = Hmac::<Sha256>::new_from_slice(hook.secret.expose_secret().as_bytes()).ok()?;
    mac.update(body.as_bytes());
    let mut signature = hex::encode(mac.finalize().into_bytes());
    if options.form == WebhookForm::Other {
        signature.insert_str(0, "sha256=");
    }
    let request = client
        .post(hook.url.clone())
        .header("content-type", "application/json")
        .header("x-allai-signature", signature)
        .timeout(within)
        .body(body.to_owned());
    Some(request.send().await.ok()?.status().as_u16())
}
