//! Posting to a webhook, and sending mail.

use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::json;

use super::refusal::{Outlook, Refusal};
use crate::clock::SharedClock;
use crate::config::{AlertMail, AlertWebhook, Alerts, WebhookFormat};
use crate::mail::{self, TIMEOUT};
use crate::warehouse::{Incident, Warehouse, Way};

/// More at once are one message to people.
const FEW: usize = 3;

/// Tells of incidents, as the configuration says.
#[derive(Debug)]
pub struct Notifier {
    webhook: Option<(reqwest::Client, AlertWebhook)>,
    mail: Option<(AsyncSmtpTransport<Tokio1Executor>, AlertMail)>,
}

impl Notifier {
    /// `None` if nobody is to be told.
    pub fn new(alerts: &Alerts) -> Option<Self> {
        let webhook = alerts.webhook.clone().and_then(|webhook| {
            #[expect(clippy::disallowed_methods, reason = "it goes elsewhere than to the AllAI API")]
            let client = reqwest::Client::builder()
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .build();
            Some((client.ok()?, webhook))
        });
        let mail = alerts.mail.clone().and_then(|own| {
            let server = mail::server(own.server.as_ref()?.expose()).ok()?;
            Some((server, own))
        });
        (webhook.is_some() || mail.is_some()).then(|| Self { webhook, mail })
    }

    /// The ways that are configured.
    pub fn ways(&self) -> Vec<Way> {
        let webhook = self.webhook.as_ref().map(|_| Way::Webhook);
        let mail = self.mail.as_ref().map(|_| Way::Mail);
        webhook.into_iter().chain(mail).collect()
    }

    /// Tells of incidents, each that it is there, or over, in the ways in which that is due, and notes it in them, and in
    /// the warehouse that keeps them, as soon as it is told: who stops in between tells nothing twice. What did not work
    /// and is worth trying again is returned in words without anything secret; what is refused for good is given up.
    ///
    /// What is not told `within` that time is left: another program may tell of it then.
    pub async fn tell(
        &self,
        incidents: &mut [Incident],
        kept: Option<&Warehouse>,
        clock: &SharedClock,
        within: Duration,
    ) -> Vec<String> {
        let since = clock.monotonic();
        let mut problems = Vec::new();
        for way in self.ways() {
            for message in self.messages(way, incidents) {
                if clock.monotonic().saturating_sub(since) + TIMEOUT > within {
                    return problems;
                }
                let parts: Vec<&Incident> = message.iter().map(|&at| &incidents[at]).collect();
                // Not every step of the mail library has a timeout.
                let told = tokio::time::timeout(TIMEOUT, self.send(way, &parts)).await;
                let told =
                    told.unwrap_or_else(|_| Err(Refusal::of_all(&format!("no answer within {} s", TIMEOUT.as_secs()))));
                let is_told = told.is_ok();
                if let Err(Refusal { problem, outlook }) = told {
                    let problem = format!("{}: {problem}", name(way));
                    match outlook {
                        Outlook::Never => tracing::error!(
                            "an alert is refused for good, nobody is told of it this way and it is not tried again, see \
                             [alerts] in the configuration: {problem}; it was: {}",
                            text(&parts)
                        ),
                        Outlook::Later => {
                            problems.push(problem);
                            continue;
                        }
                        Outlook::NoneNow => {
                            problems.push(problem);
                            break;
                        }
                    }
                }
                for at in message {
                    let incident = &mut incidents[at];
                    if is_told {
                        incident.note_told(way);
                    } else {
                        incident.give_up(way);
                    }
                    if let Some(warehouse) = kept {
                        self.keep(incident, warehouse).await;
                    }
                }
            }
        }
        problems
    }

    /// Keeps what was told of an incident.
    async fn keep(&self, incident: &Incident, warehouse: &Warehouse) {
        let is_all = !self.ways().iter().any(|way| incident.is_due(*way));
        if let Err(error) = warehouse.incident_told(incident, is_all).await {
            tracing::warn!(
                sync.account = incident.account, alert.kind = incident.kind.as_str(), %error,
                "it was not noted that an alert was delivered; it will be again"
            );
        }
    }

    async fn send(&self, way: Way, message: &[&Incident]) -> Result<(), Refusal> {
        match (way, &self.webhook, &self.mail) {
            (Way::Webhook, Some((client, webhook)), _) => post(client, webhook, message).await,
            (Way::Mail, _, Some((server, mail))) => send(server, mail, message).await,
            _ => Ok(()),
        }
    }

    /// What is to be told in one way: each incident by itself if they are few, or programs read them, else together.
    fn messages(&self, way: Way, incidents: &[Incident]) -> Vec<Vec<usize>> {
        let is_json = |(_, webhook): &(_, AlertWebhook)| webhook.format == WebhookFormat::Json;
        let few = match way {
            Way::Webhook if self.webhook.as_ref().is_some_and(is_json) => usize::MAX,
            _ => FEW,
        };
        let due = (0..incidents.len()).filter(|&at| incidents[at].is_due(way));
        let (over, new): (Vec<usize>, Vec<usize>) = due.partition(|&at| incidents[at].resolved_at.is_some());
        let mut messages = Vec::new();
        for group in [new, over] {
            if group.len() <= few {
                messages.extend(group.into_iter().map(|at| vec![at]));
            } else {
                messages.push(group);
            }
        }
        messages
    }
}

const fn name(way: Way) -> &'static str {
    match way {
        Way::Webhook => "the webhook",
        Way::Mail => "the mail server",
    }
}

async fn post(client: &reqwest::Client, webhook: &AlertWebhook, message: &[&Incident]) -> Result<(), Refusal> {
    let Some(url) = &webhook.url else { return Ok(()) };
    let body = match (webhook.format, message) {
        (WebhookFormat::Json, [incident, ..]) => json!({
            "source": "allai-sync",
            "status": if incident.resolved_at.is_some() { "resolved" } else { "firing" },
            "incident": incident,
        }),
        _ => json!({ "text": text(message) }),
    };
    let answer = client.post(url.expose()).json(&body).send().await;
    let status = answer.map_err(|error| Refusal::of_all(&error.without_url()))?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(Refusal::of_status(status))
    }
}

async fn send(
    server: &AsyncSmtpTransport<Tokio1Executor>,
    mail: &AlertMail,
    message: &[&Incident],
) -> Result<(), Refusal> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| Refusal::of_all(&error));
    let mut letter = Message::builder().from(mailbox(&mail.from)?).subject(subject(message));
    for to in &mail.to {
        letter = letter.to(mailbox(to)?);
    }
    let letter = letter
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{}\n", text(message)))
        .map_err(|error| Refusal::of_all(&error))?;
    let (whole, envelope) = (letter.formatted(), letter.envelope());
    let sent = server.send_raw(envelope, &whole).await.map(drop);
    let refusal = match sent.map_err(|error| Refusal::of_mail(&error)) {
        Err(refusal) if refusal.outlook == Outlook::Never && envelope.to().len() > 1 => refusal,
        sent => return sent,
    };
    // It may be one of the recipients, who must not keep the others from being told.
    let mut refusals = Vec::new();
    for (number, to) in (1..).zip(envelope.to()) {
        let alone =
            Envelope::new(envelope.from().cloned(), vec![to.clone()]).map_err(|error| Refusal::of_all(&error))?;
        if let Err(error) = server.send_raw(&alone, &whole).await {
            tracing::error!("recipient {number} of alerts.mail.to is not told: the mail server: {error}");
            refusals.push(Refusal::of_mail(&error));
        }
    }
    if refusals.len() < envelope.to().len() {
        return Ok(());
    }
    let for_now = refusals.into_iter().find(|refusal| refusal.outlook != Outlook::Never);
    Err(for_now.unwrap_or(refusal))
}

fn subject(message: &[&Incident]) -> String {
    match message {
        [incident] if incident.resolved_at.is_some() => format!("[allai-sync] over: {}", incident.summary),
        [incident] => format!("[allai-sync] alert: {}", incident.summary),
        _ if is_over(message) => format!("[allai-sync] over: {} things", message.len()),
        _ => format!("[allai-sync] alert: {} things need attention", message.len()),
    }
}

/// Those of one message are all over, or all there.
fn is_over(message: &[&Incident]) -> bool {
    message.iter().all(|incident| incident.resolved_at.is_some())
}

fn text(message: &[&Incident]) -> String {
    if let [incident] = message {
        return format!("allai-sync: {}", line(incident));
    }
    let mut text = if is_over(message) {
        format!("allai-sync: {} things are over:", message.len())
    } else {
        format!("allai-sync: {} things need attention:", message.len())
    };
    for incident in message {
        text.push_str("\n- ");
        text.push_str(&line(incident));
    }
    text
}

fn line(incident: &Incident) -> String {
    let since = incident.opened_at.format("%Y-%m-%d %H:%M UTC");
    match incident.resolved_at {
        Some(at) => format!(
            "over since {}: {} (it began {since})",
            at.format("%Y-%m-%d %H:%M UTC"),
            incident.summary
        ),
        None => format!("{} (since {since}). What to do: {}", incident.summary, incident.remedy),
    }
}
