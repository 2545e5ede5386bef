//! Posting to a webhook, and sending mail.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::json;

use crate::clock::SharedClock;
use crate::config::{AlertMail, AlertWebhook, Alerts, WebhookFormat};
use crate::warehouse::Incident;

/// How long a server may take to accept an alert.
const TIMEOUT: Duration = Duration::from_secs(20);
/// More at once are one message to people.
const FEW: usize = 3;

/// Tells of incidents, as the configuration says.
#[derive(Debug)]
pub struct Notifier {
    /// What one of several ways has taken, and another has not yet.
    taken: Mutex<HashSet<(&'static str, String)>>,
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
        (webhook.is_some() || mail.is_some()).then(|| Self {
            taken: Mutex::default(),
            webhook,
            mail,
        })
    }

    /// Tells of incidents, each that it is there, or over: those that were told in all ways, and what did not work
    /// otherwise, in words without anything secret.
    ///
    /// What is not told `within` that time is left for the next call: another program may tell of it then.
    pub async fn tell<'a>(
        &self,
        incidents: &'a [Incident],
        clock: &SharedClock,
        within: Duration,
    ) -> (Vec<&'a Incident>, Vec<String>) {
        let since = clock.monotonic();
        let is_over = || clock.monotonic().saturating_sub(since) + TIMEOUT > within;
        let mut problems = Vec::new();
        if let Some((client, webhook)) = &self.webhook {
            let messages = match webhook.format {
                // Programs read these, one by one.
                WebhookFormat::Json => self.messages("webhook", incidents, usize::MAX),
                WebhookFormat::Slack => self.messages("webhook", incidents, FEW),
            };
            for message in messages {
                if is_over() {
                    break;
                }
                match post(client, webhook, &message).await {
                    Ok(()) => self.took("webhook", &message),
                    Err(problem) => {
                        problems.push(problem);
                        break;
                    }
                }
            }
        }
        if let Some((server, mail)) = &self.mail {
            for message in self.messages("mail", incidents, FEW) {
                match send(server, mail, &message).await {
                    Ok(()) => self.took("mail", &message),
                    Err(problem) => {
                        problems.push(problem);
                        break;
                    }
                }
            }
        }
        let mut ways = Vec::new();
        ways.extend(self.webhook.as_ref().map(|_| "webhook"));
        ways.extend(self.mail.as_ref().map(|_| "mail"));
        let mut taken = self.taken();
        let told: Vec<&Incident> = incidents
            .iter()
            .filter(|incident| ways.iter().all(|way| taken.contains(&(*way, name(incident)))))
            .collect();
        for incident in &told {
            for way in &ways {
                taken.remove(&(*way, name(incident)));
            }
        }
        (told, problems)
    }

    /// What is still to be told in one way: each incident by itself if they are few, else together.
    fn messages<'a>(&self, way: &'static str, incidents: &'a [Incident], few: usize) -> Vec<Vec<&'a Incident>> {
        let taken = self.taken();
        let (over, new): (Vec<&Incident>, Vec<&Incident>) = incidents
            .iter()
            .filter(|incident| !taken.contains(&(way, name(incident))))
            .partition(|incident| incident.resolved_at.is_some());
        let mut messages = Vec::new();
        for group in [new, over] {
            if group.len() <= few {
                messages.extend(group.into_iter().map(|incident| vec![incident]));
            } else {
                messages.push(group);
            }
        }
        messages
    }

    fn took(&self, way: &'static str, message: &[&Incident]) {
        self.taken()
            .extend(message.iter().map(|incident| (way, name(incident))));
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<(&'static str, String)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One name for each thing that is told.
fn name(incident: &Incident) -> String {
    format!(
        "{} {} {} {} {}",
        incident.account,
        incident.resource,
        incident.kind.as_str(),
        incident.opened_at,
        incident.resolved_at.is_some()
    )
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
    let answer = answer.map_err(|error| format!("the webhook: {}", error.without_url()))?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("the webhook answered {}", answer.status()))
    }
}

async fn send(
    server: &AsyncSmtpTransport<Tokio1Executor>,
    mail: &AlertMail,
    message: &[&Incident],
) -> Result<(), String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("mail: {error}"));
    let mut letter = Message::builder().from(mailbox(&mail.from)?).subject(subject(message));
    for to in &mail.to {
        letter = letter.to(mailbox(to)?);
    }
    let letter = letter
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{}\n", text(message)))
        .map_err(|error| format!("mail: {error}"))?;
    server
        .send(letter)
        .await
        .map(drop)
        .map_err(|error| format!("the mail server: {error}"))
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
