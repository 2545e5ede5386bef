//! `do = "reply"`: writes into the conversation. Gives the `id` of the message.
//!
//! The API has no key that would make a message one: where it is not known whether one was sent, it is looked for in the conversation,
//! among those that were not there before.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Of, Reading};
use crate::allai::{ListQuery, NewMessage};
use crate::automation::template::Template;
use crate::automation::tools::Tools;

/// Messages are looked through by so many.
const PAGE: u32 = 100;
/// No conversation has more pages than this that are worth looking through.
const MOST_PAGES: usize = 100;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Reply {
    pub(super) text: Template,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// What is said.
    text: String,
    /// Who says it; `agent`.
    #[serde(default = "agent")]
    role: String,
}

fn agent() -> String {
    "agent".to_owned()
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Reply> {
    let keys: Keys = reading.keys(own)?;
    if keys.role == "visitor" {
        reading.wrong(
            &["role"],
            "would speak as the visitor",
            "write role = \"agent\", or leave it out",
        );
    }
    // The two together: what is kept of the step is what was said, and as whom.
    let both = json!({"text": keys.text, "role": keys.role});
    Some(Reply {
        text: reading.template(&[], &both),
    })
}

impl Reply {
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>, tools: &Tools) -> Result<Value, Failure> {
        let text = input["text"].as_str().unwrap_or_default().trim();
        let role = input["role"].as_str().unwrap_or_default();
        if of.conversation_id.is_empty() {
            return Err(Failure::lasting("there is no conversation to reply into"));
        }
        if text.is_empty() {
            return Err(Failure::lasting("there is nothing to say: the text came out empty"));
        }
        if of.is_again
            && let Some(id) = sent_already(text, role, of, tools).await?
        {
            return Ok(json!({"id": id, "text": text}));
        }
        let message = NewMessage {
            content: text.to_owned(),
            role: role.to_owned(),
            kind: "text".to_owned(),
        };
        let sent = tools.client.send_message(of.conversation_id, &message).await?;
        Ok(json!({"id": sent.message.map(|message| message.id), "text": text}))
    }
}

/// The message that an earlier try sent, if it did: one that says the same and is neither older than the try nor known to be
/// another step's.
async fn sent_already(text: &str, role: &str, of: Of<'_>, tools: &Tools) -> Result<Option<String>, Failure> {
    let others = tools
        .warehouse
        .steps_about(of.account, "reply", of.conversation_id, "")
        .await?;
    let others: Vec<Value> = others
        .into_iter()
        .filter_map(|(_, output)| serde_json::from_str(&output?).ok())
        .collect();
    let is_anothers = |id: &str| others.iter().any(|output| output["id"].as_str() == Some(id));
    let mut offset = 0;
    for _ in 0..MOST_PAGES {
        let query = ListQuery {
            limit: PAGE,
            offset,
            ..ListQuery::default()
        };
        let page = tools.client.list_messages(of.conversation_id, &query).await?;
        if page.items.is_empty() {
            break;
        }
        offset += page.items.len() as u64;
        let found = page.items.into_iter().find(|message| {
            message.role.as_deref() == Some(role)
                && message.content.as_deref().map(str::trim) == Some(text)
                // The server's clock and ours differ by what the client has learned; a minute more does no harm, since what
                // another step said is known.
                && message.sent_at.is_none_or(|sent| sent >= of.since - chrono::TimeDelta::minutes(1))
                && !is_anothers(&message.id)
        });
        if let Some(message) = found {
            return Ok(Some(message.id));
        }
    }
    Ok(None)
}
