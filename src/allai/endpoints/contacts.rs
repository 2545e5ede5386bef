//! `/contacts`.

use http::Method;
use serde::Serialize;

use crate::allai::call::Call;
use crate::allai::client::single;
use crate::allai::model::{Contact, Conversation, Record};
use crate::allai::{Client, Error, ListQuery, Listing, TypedPage};

/// What a contact is created or updated with; what is `None` is not sent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ContactDetails {
    /// Full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// E-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Telephone number, e.g. `+40722123456`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Labels, e.g. `lead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The account's own members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_fields: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Client {
    /// `GET /contacts`: a page of the contacts, with `query.search` those that match it.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # use allai_sync::allai::ContactDetails;
    /// use allai_sync::allai::ListQuery;
    ///
    /// # let ion = ContactDetails { name: Some("Ion Popescu".into()), email: Some("ion@exemplu.ro".into()), ..Default::default() };
    /// # client.create_contact(&ion).await?;
    /// let query = ListQuery { search: Some("ion@exemplu.ro".into()), ..ListQuery::default() };
    /// let found = client.list_contacts(&query).await?;
    /// assert_eq!(found.items[0].name.as_deref(), Some("Ion Popescu"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_contacts(&self, query: &ListQuery) -> Result<TypedPage<Contact>, Error> {
        let pick = |record| match record {
            Record::Contact(contact) => Some(contact),
            _ => None,
        };
        self.typed_list(&Listing::Contacts, query, pick).await
    }

    /// `POST /contacts`: a new contact. Repeated only when it is certain that the server did not act on it: a second
    /// contact is worse than an error.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::ContactDetails;
    ///
    /// let details = ContactDetails {
    ///     name: Some("Maria Popescu".into()),
    ///     email: Some("maria@exemplu.ro".into()),
    ///     tags: Some(vec!["lead".into(), "contact-form".into()]),
    ///     ..ContactDetails::default()
    /// };
    /// let contact = client.create_contact(&details).await?;
    /// assert_eq!(contact.email.as_deref(), Some("maria@exemplu.ro"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_contact(&self, details: &ContactDetails) -> Result<Contact, Error> {
        self.execute(&Call::create(&["contacts"], details), contact).await
    }

    /// `PUT /contacts/{id}`: changes a contact, and returns it as it is then.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # let id = &sandbox.account().contact_ids()[0];
    /// use allai_sync::allai::ContactDetails;
    ///
    /// let details = ContactDetails { phone: Some("+40722123456".into()), ..ContactDetails::default() };
    /// let contact = client.update_contact(id, &details).await?;
    /// assert_eq!(contact.phone.as_deref(), Some("+40722123456"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_contact(&self, id: &str, details: &ContactDetails) -> Result<Contact, Error> {
        self.execute(&Call::change(Method::PUT, &["contacts", id], details), contact)
            .await
    }

    /// `GET /contacts/{id}/conversations`: a page of the contact's conversations.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// # use allai_sync::sandbox::ConversationDraft;
    /// use allai_sync::allai::ListQuery;
    ///
    /// # let id = &sandbox.account().contact_ids()[0];
    /// # let draft = ConversationDraft { contact_id: Some(id.clone()), ..ConversationDraft::default() };
    /// # sandbox.account().insert_conversation(draft);
    /// let history = client.contact_conversations(id, &ListQuery::default()).await?;
    /// assert!(history.items.iter().all(|conversation| conversation.contact_id.as_ref() == Some(id)));
    /// # assert!(!history.items.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn contact_conversations(
        &self,
        contact_id: &str,
        query: &ListQuery,
    ) -> Result<TypedPage<Conversation>, Error> {
        let listing = Listing::ContactConversations {
            contact_id: contact_id.to_owned(),
        };
        self.typed_list(&listing, query, super::conversations::pick).await
    }
}

fn contact(body: &[u8]) -> Result<Contact, String> {
    Contact::decode(&single(body, "contact")?).map_err(|rejected| rejected.reason)
}
