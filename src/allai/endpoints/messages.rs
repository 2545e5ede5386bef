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
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # let id = &sandbox.account().conversation_ids()[0];
    /// use allai_sync::allai::ListQuery;
    ///
    /// let query = ListQuery { limit: 100, ..ListQuery::default() };
    /// for message in client.list_messages(id, &query).await?.items {
    ///     assert_eq!(&message.conversation_id, id);
    ///     println!("{}: {}", message.role.unwrap_or_default(), message.content.unwrap_or_default());
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
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # let id = &sandbox.account().insert_conversation(Default::default());
    /// use allai_sync::allai::NewMessage;
    ///
    /// let sent = client.send_message(id, &NewMessage::from_visitor("Aveți Laptop X pe stoc?")).await?;
    /// let answer = sent.bot_response.expect("the bot has an answer");
    /// assert!(answer.content.is_some_and(|text| text.contains("Laptop X")));
    /// assert!(answer.confidence > Some(0.5));
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
