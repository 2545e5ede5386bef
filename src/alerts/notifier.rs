//! Posting to a webhook, and sending mail.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::json;

use crate::config::{AlertMail, AlertWebhook, Alerts, WebhookFormat};
use crate::warehouse::Incident;

/// How long a server may take to accept an alert.
const TIMEOUT: Duration = Duration::from_secs(20);

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

    /// Tells of an incident: that it is there, or over. An error says what did not work, and nothing secret.
    pub async fn tell(&self, incident: &Incident) -> Result<(), String> {
        let mut problems = Vec::new();
        if let Some((client, webhook)) = &self.webhook {
            problems.extend(
                self.once("webhook", incident, post(client, webhook, incident))
                    .await
                    .err(),
            );
        }
        if let Some((server, mail)) = &self.mail {
            problems.extend(self.once("mail", incident, send(server, mail, incident)).await.err());
        }
        if problems.is_empty() {
            for way in ["webhook", "mail"] {
                self.taken().remove(&(way, name(incident)));
            }
            Ok(())
        } else {
            Err(problems.join("; "))
        }
    }

    /// Tells in one way, unless that has been done while another way failed.
    async fn once(
        &self,
        way: &'static str,
        incident: &Incident,
        telling: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        let key = (way, name(incident));
        if !self.taken().contains(&key) {
            telling.await?;
            self.taken().insert(key);
        }
        Ok(())
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

async fn post(client: &reqwest::Client, webhook: &AlertWebhook, incident: &Incident) -> Result<(), String> {
    let Some(url) = &webhook.url else { return Ok(()) };
    let body = match webhook.format {
        WebhookFormat::Json => json!({
            "source": "allai-sync",
            "status": if incident.resolved_at.is_some() { "resolved" } else { "firing" },
            "incident": incident,
        }),
        WebhookFormat::Slack => json!({ "text": text(incident) }),
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
    incident: &Incident,
) -> Result<(), String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("mail: {error}"));
    let mut message = Message::builder().from(mailbox(&mail.from)?).subject(subject(incident));
    for to in &mail.to {
        message = message.to(mailbox(to)?);
    }
    let message = message
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{}\n", text(incident)))
        .map_err(|error| format!("mail: {error}"))?;
    server
        .send(message)
        .await
        .map(drop)
        .map_err(|error| format!("the mail server: {error}"))
}

fn subject(incident: &Incident) -> String {
    let state = if incident.resolved_at.is_some() {
        "over"
    } else {
        "alert"
    };
    format!("[allai-sync] {state}: {}", incident.summary)
}

fn text(incident: &Incident) -> String {
    let since = incident.opened_at.format("%Y-%m-%d %H:%M UTC");
    match incident.resolved_at {
        Some(at) => format!(
            "allai-sync: over since {}: {} (it began {since})",
            at.format("%Y-%m-%d %H:%M UTC"),
            incident.summary
        ),
        None => format!(
            "allai-sync: {} (since {since}). What to do: {}",
            incident.summary, incident.remedy
        ),
    }
}
