//! `/conversations`.

use http::Method;
use serde::Serialize;

use crate::allai::call::Call;
use crate::allai::client::single;
use crate::allai::model::{Conversation, Record};
use crate::allai::{Client, Error, ListQuery, Listing, TypedPage};

/// What a conversation is created with.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewConversation {
    /// The chatbot that is to answer, e.g. `cb_abc123`.
    pub chatbot_id: String,
    /// Who talks to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitor: Option<NewVisitor>,
    /// Where from, e.g. `api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Free-form data, e.g. the page the visitor is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The visitor of a new conversation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewVisitor {
    /// Full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// E-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// The id of no conversation.
const NO_CONVERSATION: &str = "allai-sync-check-no-such-conversation";

impl Client {
    /// `GET /conversations`: a page of the conversations, with `query.status` those in that status.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::ListQuery;
    ///
    /// let query = ListQuery { status: Some("active".into()), limit: 50, ..ListQuery::default() };
    /// let active = client.list_conversations(&query).await?;
    /// assert!(active.items.iter().all(|conversation| conversation.status.as_deref() == Some("active")));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_conversations(&self, query: &ListQuery) -> Result<TypedPage<Conversation>, Error> {
        self.typed_list(&Listing::Conversations, query, pick).await
    }

    /// `GET /conversations/{id}`; `None` if there is no such conversation.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # let id = &sandbox.account().conversation_ids()[0];
    /// let conversation = client.conversation(id).await?.expect("it exists");
    /// assert_eq!(&conversation.id, id);
    /// assert!(client.conversation("conv_of_another_account").await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn conversation(&self, id: &str) -> Result<Option<Conversation>, Error> {
        match self.execute(&Call::get(&["conversations", id]), conversation).await {
            Ok(conversation) => Ok(Some(conversation)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the key may write, as far as that shows without writing: amends nothing of a conversation that does not exist.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().read.as_str().into()).build()?;
    /// assert!(!client.may_write().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn may_write(&self) -> Result<bool, Error> {
        let nothing = serde_json::Map::new();
        let call = Call::change(Method::PATCH, &["conversations", NO_CONVERSATION], &nothing);
        match self.execute(&call, |_| Ok(())).await {
            Ok(()) | Err(Error::NotFound { .. } | Error::Gone { .. } | Error::BadRequest { .. }) => Ok(true),
            Err(Error::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `POST /conversations`: a new conversation. Repeated only when it is certain that the server did not act on it.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::{NewConversation, NewVisitor};
    ///
    /// let new = NewConversation {
    ///     chatbot_id: "cb_abc123".into(),
    ///     visitor: Some(NewVisitor { name: Some("Ion Popescu".into()), email: Some("ion@exemplu.ro".into()) }),
    ///     channel: Some("api".into()),
    ///     ..NewConversation::default()
    /// };
    /// let conversation = client.create_conversation(&new).await?;
    /// assert_eq!(conversation.visitor_name.as_deref(), Some("Ion Popescu"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_conversation(&self, new: &NewConversation) -> Result<Conversation, Error> {
        self.execute(&Call::create(&["conversations"], new), conversation).await
    }

    /// `PATCH /conversations/{id}`: closes a conversation, saying how it ended, and returns it as it is then.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # let id = &sandbox.account().insert_conversation(Default::default());
    /// let closed = client.close_conversation(id, Some("resolved_by_bot")).await?;
    /// assert_eq!(closed.status.as_deref(), Some("closed"));
    /// assert_eq!(closed.resolution.as_deref(), Some("resolved_by_bot"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close_conversation(&self, id: &str, resolution: Option<&str>) -> Result<Conversation, Error> {
        #[derive(Serialize)]
        struct Close<'a> {
            status: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            resolution: Option<&'a str>,
        }
        let status = "closed";
        let close = Close { status, resolution };
        self.execute(
            &Call::change(Method::PATCH, &["conversations", id], &close),
            conversation,
        )
        .await
    }
}

pub(super) fn pick(record: Record) -> Option<Conversation> {
    match record {
        Record::Conversation(conversation) => Some(conversation),
        _ => None,
    }
}

fn conversation(body: &[u8]) -> Result<Conversation, String> {
    Conversation::decode(&single(body, "conversation")?).map_err(|rejected| rejected.reason)
}
