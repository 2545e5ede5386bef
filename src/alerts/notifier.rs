//! Posting to a webhook, and sending mail.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::json;

use crate::clock::SharedClock;
use crate::config::{AlertMail, AlertWebhook, Alerts, WebhookFormat};
use crate::warehouse::{Incident, Way};

/// How long a server may take to accept an alert.
const TIMEOUT: Duration = Duration::from_secs(20);
/// More at once are one message to people.
const FEW: usize = 3;

/// Tells of incidents, as the configuration says.
#[derive(Debug)]
pub struct Notifier {
    webhook: Option<(reqwest::Client, AlertWebhook)>,
    mail: Option<(AsyncSmtpTransport<Tokio1Executor>, AlertMail)>,
}

/// The mail server that a URL names.
pub fn mail_server(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    Ok(AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?
        .timeout(Some(TIMEOUT))
        .build())
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
        let mail = alerts.mail.clone().and_then(|mail| {
            let server = mail_server(mail.server.as_ref()?.expose()).ok()?;
            Some((server, mail))
        });
        (webhook.is_some() || mail.is_some()).then(|| Self { webhook, mail })
    }

    /// The ways that are configured.
    pub fn ways(&self) -> Vec<Way> {
        let webhook = self.webhook.as_ref().map(|_| Way::Webhook);
        let mail = self.mail.as_ref().map(|_| Way::Mail);
        webhook.into_iter().chain(mail).collect()
    }

    /// Tells of incidents, each that it is there, or over, in the ways in which that is due, and notes it in them. What did
    /// not work is returned in words without anything secret.
    ///
    /// What is not told `within` that time is left: another program may tell of it then.
    pub async fn tell(&self, incidents: &mut [Incident], clock: &SharedClock, within: Duration) -> Vec<String> {
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
                match told.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()))) {
                    Ok(()) => message.iter().for_each(|&at| incidents[at].note_told(way)),
                    Err(problem) => {
                        let name = match way {
                            Way::Webhook => "the webhook",
                            Way::Mail => "the mail server",
                        };
                        problems.push(format!("{name}: {problem}"));
                        break;
                    }
                }
            }
        }
        problems
    }

    async fn send(&self, way: Way, message: &[&Incident]) -> Result<(), String> {
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

async fn post(client: &reqwest::Client, webhook: &AlertWebhook, message: &[&Incident]) -> Result<(), String> {
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
    let answer = answer.map_err(|error| error.without_url().to_string())?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("it answered {}", answer.status()))
    }
}

async fn send(
    server: &AsyncSmtpTransport<Tokio1Executor>,
    mail: &AlertMail,
    message: &[&Incident],
) -> Result<(), String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| error.to_string());
    let mut letter = Message::builder().from(mailbox(&mail.from)?).subject(subject(message));
    for to in &mail.to {
        letter = letter.to(mailbox(to)?);
    }
    let letter = letter
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{}\n", text(message)))
        .map_err(|error| error.to_string())?;
    server.send(letter).await.map(drop).map_err(|error| error.to_string())
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
