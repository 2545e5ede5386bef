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
    /// ```no_run
    /// # async fn example(client: allai_sync::allai::Client) -> Result<(), allai_sync::allai::Error> {
    /// use allai_sync::allai::ListQuery;
    ///
    /// let query = ListQuery { search: Some("ion@exemplu.ro".into()), ..ListQuery::default() };
    /// for contact in client.list_contacts(&query).await?.items {
    ///     println!("{} {:?}", contact.id, contact.name);
    /// }
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
    /// ```no_run
    /// # async fn example(client: allai_sync::allai::Client) -> Result<(), allai_sync::allai::Error> {
    /// use allai_sync::allai::ContactDetails;
    ///
    /// let details = ContactDetails {
    ///     name: Some("Maria Popescu".into()),
    ///     email: Some("maria@exemplu.ro".into()),
    ///     tags: Some(vec!["lead".into(), "contact-form".into()]),
    ///     ..ContactDetails::default()
    /// };
    /// let contact = client.create_contact(&details).await?;
    /// println!("{}", contact.id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_contact(&self, details: &ContactDetails) -> Result<Contact, Error> {
        self.execute(&Call::create(&["contacts"], details), contact).await
    }

    /// `PUT /contacts/{id}`: changes a contact, and returns it as it is then.
    ///
    /// ```no_run
    /// # async fn example(client: allai_sync::allai::Client) -> Result<(), allai_sync::allai::Error> {
    /// use allai_sync::allai::ContactDetails;
    ///
    /// let details = ContactDetails { phone: Some("+40722123456".into()), ..ContactDetails::default() };
    /// client.update_contact("cont_123", &details).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_contact(&self, id: &str, details: &ContactDetails) -> Result<Contact, Error> {
        self.execute(&Call::change(Method::PUT, &["contacts", id], details), contact)
            .await
    }

    /// `GET /contacts/{id}/conversations`: a page of the contact's conversations.
    ///
    /// ```no_run
    /// # async fn example(client: allai_sync::allai::Client) -> Result<(), allai_sync::allai::Error> {
    /// let history = client.contact_conversations("cont_123", &Default::default()).await?;
    /// println!("{} conversations", history.items.len());
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
