//! `do = "close"`: closes the conversation. Done again, it changes nothing more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Of, Reading};
use crate::automation::template::Template;
use crate::automation::tools::Tools;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Close {
    pub(super) resolution: Template,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Such as `resolved_by_bot`.
    resolution: Option<Value>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Close> {
    let keys: Keys = reading.keys(own)?;
    Some(Close {
        resolution: reading.template(&["resolution"], &keys.resolution.unwrap_or_default()),
    })
}

impl Close {
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>, tools: &Tools) -> Result<Value, Failure> {
        if of.conversation_id.is_empty() {
            return Err(Failure::lasting("there is no conversation to close"));
        }
        if of.is_again {
            let known = tools.client.conversation(of.conversation_id).await?;
            if known.is_some_and(|known| known.status.as_deref() == Some("closed")) {
                return Ok(json!({"closed": true}));
            }
        }
        tools
            .client
            .close_conversation(of.conversation_id, input.as_str())
            .await?;
        Ok(json!({"closed": true}))
    }
}
