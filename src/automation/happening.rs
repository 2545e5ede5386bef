//! What rules can be asked about.

use std::collections::HashMap;

use crate::config::Config;
use crate::schedule::delta;
use crate::warehouse::{Interest, Subject};

/// Something that rules can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A visitor wrote.
    MessageReceived,
    /// The chatbot or a person wrote.
    MessageSent,
    /// A conversation began.
    ConversationStarted,
    /// A conversation was closed.
    ConversationEnded,
    /// There is a new contact.
    ContactCreated,
    /// A contact changed.
    ContactUpdated,
    /// A contact got a label.
    ContactTagged,
    /// An event told of a new lead.
    LeadCreated,
    /// An event told that a lead is qualified.
    LeadQualified,
    /// An event told that somebody wants a person.
    HandoffRequested,
    /// An event told of a rating.
    SatisfactionRated,
}

impl Happening {
    /// All there are.
    pub(super) const ALL: [Self; 11] = [
        Self::MessageReceived,
        Self::MessageSent,
        Self::ConversationStarted,
        Self::ConversationEnded,
        Self::ContactCreated,
        Self::ContactUpdated,
        Self::ContactTagged,
        Self::LeadCreated,
        Self::LeadQualified,
        Self::HandoffRequested,
        Self::SatisfactionRated,
    ];

    /// Its name in the configuration: that of the guide's event, where there is one.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::MessageReceived => "message.received",
            Self::MessageSent => "message.sent",
            Self::ConversationStarted => "conversation.started",
            Self::ConversationEnded => "conversation.ended",
            Self::ContactCreated => "contact.created",
            Self::ContactUpdated => "contact.updated",
            Self::ContactTagged => "contact.tagged",
            Self::LeadCreated => "lead.created",
            Self::LeadQualified => "lead.qualified",
            Self::HandoffRequested => "handoff.requested",
            Self::SatisfactionRated => "satisfaction.rated",
        }
    }

    /// That of this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|happening| happening.name() == name)
    }

    /// That which an event of this type tells of, and the mirror does not.
    pub(super) fn of_event(name: &str) -> Option<Self> {
        Self::of_name(name).filter(|happening| happening.subject() == Subject::Event)
    }

    /// What it is noted of.
    pub(super) const fn subject(self) -> Subject {
        match self {
            Self::MessageReceived | Self::MessageSent => Subject::Message,
            Self::ConversationStarted | Self::ConversationEnded => Subject::Conversation,
            Self::ContactCreated | Self::ContactUpdated | Self::ContactTagged => Subject::Contact,
            Self::LeadCreated | Self::LeadQualified | Self::HandoffRequested | Self::SatisfactionRated => {
                Subject::Event
            }
        }
    }
}

/// What of each account is to be noted for the rules of a configuration.
pub(crate) fn interests(config: &Config) -> HashMap<String, Vec<Interest>> {
    let mut interests: HashMap<String, Vec<Interest>> = HashMap::new();
    for section in config.automations.iter().filter(|section| section.enabled) {
        let Some((account, _)) = config.account(section.account.as_deref()) else {
            continue;
        };
        let happenings = section.on.iter().filter_map(|name| Happening::of_name(name));
        let within = delta(section.max_age);
        let of_rule = happenings.map(|happening| Interest {
            subject: happening.subject(),
            within,
        });
        interests.entry(account.to_owned()).or_default().extend(of_rule);
    }
    interests
}
