//! `/conversations/{id}/messages`.

use serde::Serialize;

use crate::allai::call::Call;
use crate::allai::client::single;
use crate::allai::model::{Json, Members, Message, Record};
use crate::allai::{Client, Error, ListQuery, Listing, TypedPage};

/// A message to send.
#[derive(Clone, Debug, Serialize)]
pub struct NewMessage {
    /// What is said.
    pub content: String,
    /// Who says it: `visitor`, …
    pub role: String,
    /// `text`, …
    #[serde(rename = "type")]
    pub kind: String,
}

impl NewMessage {
    /// A text from the visitor, which the chatbot answers.
    pub fn from_visitor(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            role: "visitor".to_owned(),
            kind: "text".to_owned(),
        }
    }
}

/// A message that was sent, and what the chatbot said to it.
#[derive(Clone, Debug)]
pub struct SentMessage {
    /// The message as the API stored it.
    pub message: Option<Message>,
    /// The chatbot's answer, if it gave one.
    pub bot_response: Option<Message>,
    /// The whole answer of the API.
    pub raw: Json,
}

impl Client {
    /// `GET /conversations/{id}/messages`: a page of a conversation's messages.
    ///
    /// ```no_run
    /// # async fn example(client: allai_sync::allai::Client) -> Result<(), allai_sync::allai::Error> {
    /// use allai_sync::allai::ListQuery;
    ///
    /// let query = ListQuery { limit: 100, ..ListQuery::default() };
    /// for message in client.list_messages("conv_123", &query).await?.items {
    ///     println!("{:?}: {:?}", message.role, message.content);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_messages(&self, conversation_id: &str, query: &ListQuery) -> Result<TypedPage<Message>, Error> {
        let listing = Listing::Messages {
            conversation_id: conversation_id.to_owned(),
        };
        let pick = |record| match record {
            Record::Message(message) => Some(message),
            _ => None,
        };
        self.typed_list(&listing, query, pick).await
    }

    /// `POST /conversations/{id}/messages`: sends a message and returns the chatbot's answer. Repeated only when it is
    /// certain that the server did not act on it.
    ///
    /// ```no_run
    /// # async fn example(client: allai_sync::allai::Client) -> Result<(), allai_sync::allai::Error> {
    /// use allai_sync::allai::NewMessage;
    ///
    /// let sent = client.send_message("conv_123", &NewMessage::from_visitor("Aveți Laptop X pe stoc?")).await?;
    /// if let Some(answer) = sent.bot_response {
    ///     println!("{:?} (sure to {:?})", answer.content, answer.confidence);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_message(&self, conversation_id: &str, message: &NewMessage) -> Result<SentMessage, Error> {
        let call = Call::create(&["conversations", conversation_id, "messages"], message);
        self.execute(&call, |body| sent(conversation_id, body)).await
    }
}

/// Reads the guide's answer, `{"visitor_message": {…}, "bot_response": {…}}`, whatever the sender's message is called.
fn sent(conversation_id: &str, body: &[u8]) -> Result<SentMessage, String> {
    let raw = single(body, "data")?;
    let members = Members::parse(&raw).ok_or("it is not an object")?;
    let message = |name| Message::decode(conversation_id, members.get(name)?).ok();
    Ok(SentMessage {
        message: ["visitor_message", "agent_message", "message"]
            .into_iter()
            .find_map(message),
        bot_response: message("bot_response"),
        raw: raw.clone(),
    })
}
