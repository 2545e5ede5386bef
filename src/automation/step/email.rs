//! `do = "email"`: sends mail, as text, through the server of `[mail]`. Gives the `message_id`.
//!
//! SMTP has no way to ask whether a message was taken. One of which that is not known is sent again, unless `repeat = false`; it has
//! the same Message-ID then, by which mail servers of the larger kind drop what they have (RFC 5322, 3.6.4).

use std::collections::BTreeMap;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Of, Reading, texts};
use crate::automation::template::Template;
use crate::mail;

/// So many recipients one message has at most.
const MOST: usize = 20;
/// A subject is cut to so many characters.
const LONGEST_SUBJECT: usize = 200;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Email {
    pub(super) letter: Template,
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    repeats: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// An address, or several.
    to: Value,
    subject: String,
    text: String,
    /// Where answers go.
    reply_to: Option<String>,
    /// The sender; that of `[mail]`.
    from: Option<String>,
    /// Whether it is sent again when it is not known what became of it.
    #[serde(default = "yes")]
    repeat: bool,
}

const fn yes() -> bool {
    true
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Email> {
    let keys: Keys = reading.keys(own)?;
    let letter = reading.template(
        &[],
        &json!({"to": keys.to, "subject": keys.subject, "text": keys.text, "reply_to": keys.reply_to}),
    );
    let Some((url, sender)) = reading.ground.config.sender() else {
        let remedy = "add a section [mail] with server and from";
        reading.wrong(&["do"], "there is no mail server to send by", remedy);
        return None;
    };
    // What is wrong with the section is said there.
    let server = mail::server(url).ok()?;
    let from = match keys.from.as_deref().unwrap_or(sender).parse() {
        Ok(from) => from,
        Err(_) if keys.from.is_none() => return None,
        Err(_) => {
            let remedy = "write e.g. from = \"shop@example.com\"";
            reading.wrong(&["from"], "not a mail address", remedy);
            return None;
        }
    };
    Some(Email {
        letter,
        server,
        from,
        repeats: keys.repeat,
    })
}

impl Email {
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>) -> Result<Value, Failure> {
        if of.is_again && !self.repeats {
            return Err(Failure::lasting(
                "it is not known whether the mail was sent, and it is not sent twice; if that is harmless: repeat = true",
            ));
        }
        let id = format!("{}.{}@allai-sync", of.run_id, of.position);
        let letter = self.letter(input, &id)?;
        match self.server.send(letter).await {
            Ok(_) => Ok(json!({"message_id": id})),
            Err(error) => {
                let refused = error.status().is_some();
                let failure = if error.is_permanent() {
                    Failure::lasting(format!("the mail server: {error}"))
                } else {
                    Failure::passing(format!("the mail server: {error}"))
                };
                Err(Failure {
                    unsure: !refused,
                    ..failure
                })
            }
        }
    }

    fn letter(&self, input: &Value, id: &str) -> Result<Message, Failure> {
        let to = texts(&input["to"]);
        if to.is_empty() || to.len() > MOST {
            return Err(Failure::lasting(format!("`to` came out as {} addresses", to.len())));
        }
        // A line break would begin another header; an address that has one is none.
        let subject = input["subject"].as_str().unwrap_or_default();
        let subject: Vec<&str> = subject.split_whitespace().collect();
        let subject: String = subject.join(" ").chars().take(LONGEST_SUBJECT).collect();
        let mut letter = Message::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{id}>")))
            .subject(subject);
        for address in &to {
            letter = letter.to(mailbox(address)?);
        }
        if let Some(address) = input["reply_to"].as_str().filter(|address| !address.trim().is_empty()) {
            letter = letter.reply_to(mailbox(address)?);
        }
        letter
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}\n", input["text"].as_str().unwrap_or_default().trim_end()))
            .map_err(|error| Failure::lasting(format!("it cannot be written as mail: {error}")))
    }
}

fn mailbox(address: &str) -> Result<Mailbox, Failure> {
    let unusable = |_| Failure::lasting("an address came out as something that is no mail address");
    address.trim().parse().map_err(unusable)
}
