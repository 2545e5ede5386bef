use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn extra(extra: Option<&RawValue>) -> Value {
    extra.map_or(Value::Null, |extra| serde_json::from_str(extra.get()).unwrap())
}

fn contact(json: &str) -> Contact {
    Contact::decode(&RawValue::from_string(json.to_owned()).unwrap()).unwrap()
}

fn message(value: &Value) -> Message {
    Message::decode("conv_1", &raw(value)).unwrap()
}

#[test]
fn a_contact_as_the_guide_shows_it_fills_its_columns() {
    let contact = contact(
        r#"{"id":"cont_1","name":"Ion Popescu","email":"ion@exemplu.ro","phone":"+40722123456",
            "tags":["lead", "interested-product-x"],"custom_fields":{"company":"SRL Example","vat":19.00},
            "created_at":"2026-01-19T10:30:00Z","updated_at":1768818600123}"#,
    );
    assert_eq!(contact.id, "cont_1");
    assert_eq!(contact.name.as_deref(), Some("Ion Popescu"));
    assert_eq!(contact.phone.as_deref(), Some("+40722123456"));
    assert_eq!(contact.tags.unwrap().get(), r#"["lead","interested-product-x"]"#);
    assert_eq!(
        contact.custom_fields.unwrap().get(),
        r#"{"company":"SRL Example","vat":19.00}"#
    );
    assert_eq!(contact.created_at.unwrap().to_rfc3339(), "2026-01-19T10:30:00+00:00");
    assert_eq!(
        contact.updated_at.unwrap().to_rfc3339(),
        "2026-01-19T10:30:00.123+00:00"
    );
    assert!(contact.extra.is_none());
}

#[test]
fn what_does_not_fit_or_is_unknown_is_kept_as_it_came() {
    let contact = contact(
        r#"{"id":7,"name":12.50,"email":{"work":"a@b.ro"},"phone":null,"tags":"lead","custom_fields":[],
            "created_at":"yesterday","score":1.10,"owner":null}"#,
    );
    assert_eq!((contact.id.as_str(), contact.name.as_deref()), ("7", Some("12.50")));
    assert!(contact.email.is_none() && contact.phone.is_none() && contact.tags.is_none());
    assert!(contact.custom_fields.is_none() && contact.created_at.is_none());
    assert_eq!(
        contact.extra.unwrap().get(),
        r#"{"name":12.50,"email":{"work":"a@b.ro"},"tags":"lead","custom_fields":[],"created_at":"yesterday","score":1.10,"owner":null}"#
    );
}

#[test]
fn the_last_of_two_members_with_one_name_counts() {
    let contact = contact(r#"{"id":"a","name":"old","x":1,"id":"b","name":"new","x":2}"#);
    assert_eq!((contact.id.as_str(), contact.name.as_deref()), ("b", Some("new")));
    assert_eq!(contact.extra.unwrap().get(), r#"{"x":2}"#);
}

#[test]
fn a_row_without_a_usable_id_is_rejected_with_its_json() {
    for (row, reason) in [
        ("17", "the row is not an object"),
        ("null", "the row is not an object"),
        (r#"{"name":"Ion"}"#, "the row is not usable: it has no id"),
        (r#"{"id":null}"#, "the row is not usable: its id is null"),
        (r#"{"id":"  "}"#, "the row is not usable: its id is empty"),
        (
            r#"{"id":1.5}"#,
            "the row is not usable: its id is neither a text nor a whole number",
        ),
        (
            r#"{"id":["a"]}"#,
            "the row is not usable: its id is neither a text nor a whole number",
        ),
        (
            r#"{"id":"\ud800"}"#,
            "the row is not usable: its id is not valid Unicode",
        ),
        (r#"{"id":"a","\ud800":1}"#, "a member's name is not valid Unicode"),
    ] {
        let raw = RawValue::from_string(row.to_owned()).unwrap();
        let rejected = Record::decode(&Listing::Contacts, &raw).unwrap_err();
        assert_eq!((rejected.reason.as_str(), rejected.raw.get()), (reason, row));
    }
}

#[test]
fn half_a_surrogate_pair_costs_the_column_and_not_the_row() {
    let contact = contact(r#"{"id":"a","name":"\ud83d"}"#);
    assert!(contact.name.is_none());
    assert_eq!(contact.extra.unwrap().get(), r#"{"name":"\ud83d"}"#);
}

#[test]
fn name_and_email_of_the_visitor_are_derived_and_the_visitor_kept_whole() {
    let visitor = json!({"name": "Ion", "email": 7, "locale": "ro"});
    let row = raw(&json!({"id": "conv_1", "visitor": visitor, "channel": "api"}));
    let conversation = Conversation::decode(&row).unwrap();
    assert_eq!(conversation.visitor_name.as_deref(), Some("Ion"));
    assert_eq!(conversation.visitor_email.as_deref(), Some("7"));
    assert_eq!(extra(conversation.visitor.as_deref()), visitor);
    assert!(conversation.extra.is_none());

    let row = raw(&json!({"id": "conv_1", "visitor": "Ion"}));
    let conversation = Conversation::decode(&row).unwrap();
    assert!(conversation.visitor.is_none() && conversation.visitor_name.is_none());
    assert_eq!(extra(conversation.extra.as_deref()), json!({"visitor": "Ion"}));
}

#[test]
fn the_time_of_a_message_is_found_under_its_three_names() {
    for name in ["timestamp", "sent_at", "created_at"] {
        let message = message(&json!({"id": "m", name: "2026-01-19T10:30:00Z"}));
        assert_eq!(message.sent_at.unwrap().timestamp(), 1_768_818_600);
        assert!(message.extra.is_none());
    }
    let both = message(&json!({"id": "m", "timestamp": 1_768_818_600, "created_at": 0}));
    assert_eq!(both.sent_at.unwrap().timestamp(), 1_768_818_600);
    assert_eq!(extra(both.extra.as_deref()), json!({"created_at": 0}));
    let odd = message(&json!({"id": "m", "timestamp": "soon", "sent_at": 1_768_818_600}));
    assert_eq!(odd.sent_at.unwrap().timestamp(), 1_768_818_600);
    assert_eq!(extra(odd.extra.as_deref()), json!({"timestamp": "soon"}));
}

#[test]
fn the_list_decides_which_conversation_a_message_belongs_to() {
    let same = message(&json!({"id": "m", "conversation_id": "conv_1"}));
    assert!(same.extra.is_none());
    let other = message(&json!({"id": "m", "conversation_id": "conv_2"}));
    assert_eq!(other.conversation_id, "conv_1");
    assert_eq!(extra(other.extra.as_deref()), json!({"conversation_id": "conv_2"}));
}

#[test]
fn confidence_is_read_from_a_number_or_its_text() {
    assert_eq!(message(&json!({"id": "m", "confidence": 0.94})).confidence, Some(0.94));
    let text = message(&json!({"id": "m", "confidence": "0.94"}));
    assert_eq!(text.confidence, Some(0.94));
    assert_eq!(extra(text.extra.as_deref()), json!({"confidence": "0.94"}));
    for odd in [json!("high"), json!("NaN"), json!(true), json!([1])] {
        let message = message(&json!({"id": "m", "confidence": odd}));
        assert_eq!(message.confidence, None);
        assert_eq!(extra(message.extra.as_deref()), json!({"confidence": odd}));
    }
}

/// Which members a record holds in columns.
fn filled(record: &Record) -> Vec<&'static str> {
    let columns: Vec<(&'static str, bool)> = match record {
        Record::Contact(row) => vec![
            ("name", row.name.is_some()),
            ("email", row.email.is_some()),
            ("phone", row.phone.is_some()),
            ("tags", row.tags.is_some()),
            ("custom_fields", row.custom_fields.is_some()),
            ("created_at", row.created_at.is_some()),
            ("updated_at", row.updated_at.is_some()),
        ],
        Record::Conversation(row) => vec![
            ("chatbot_id", row.chatbot_id.is_some()),
            ("contact_id", row.contact_id.is_some()),
            ("visitor", row.visitor.is_some()),
            ("channel", row.channel.is_some()),
            ("status", row.status.is_some()),
            ("resolution", row.resolution.is_some()),
            ("metadata", row.metadata.is_some()),
            ("created_at", row.created_at.is_some()),
            ("updated_at", row.updated_at.is_some()),
            ("closed_at", row.closed_at.is_some()),
        ],
        Record::Message(row) => vec![
            ("conversation_id", true),
            ("role", row.role.is_some()),
            ("type", row.kind.is_some()),
            ("content", row.content.is_some()),
            ("confidence", row.confidence.is_some()),
            ("sources", row.sources.is_some()),
            ("timestamp", row.sent_at.is_some()),
            ("sent_at", row.sent_at.is_some()),
            ("created_at", row.sent_at.is_some()),
        ],
    };
    let held = columns.into_iter().filter(|(_, held)| *held);
    held.map(|(name, _)| name).chain(["id"]).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("2026-01-19T10:30:00Z")),
        Just(json!("conv_1")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_row() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "id",
            "name",
            "email",
            "phone",
            "tags",
            "custom_fields",
            "created_at",
            "updated_at",
            "chatbot_id",
            "contact_id",
            "visitor",
            "channel",
            "status",
            "resolution",
            "metadata",
            "closed_at",
            "conversation_id",
            "role",
            "type",
            "content",
            "confidence",
            "sources",
            "timestamp",
            "sent_at",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::hash_map(name, any_json(), 0..20).prop_map(|members| members.into_iter().collect())
}

fn listings() -> [Listing; 3] {
    let conversation_id = "conv_1".to_owned();
    [
        Listing::Contacts,
        Listing::Conversations,
        Listing::Messages { conversation_id },
    ]
}

proptest! {
    #[test]
    fn no_member_of_any_row_is_dropped(mut row in any_row()) {
        row.insert("id".to_owned(), json!("x"));
        for listing in listings() {
            let record = Record::decode(&listing, &raw(&Value::Object(row.clone()))).unwrap();
            let extra = match &record {
                Record::Contact(row) => row.extra.as_deref(),
                Record::Conversation(row) => row.extra.as_deref(),
                Record::Message(row) => row.extra.as_deref(),
            };
            let extra: BTreeMap<String, Box<RawValue>> =
                extra.map(|extra| serde_json::from_str(extra.get()).unwrap()).unwrap_or_default();
            let columns = filled(&record);
            for (name, value) in &row {
                let text = value.to_string();
                let kept = extra.get(name).is_some_and(|kept| kept.get() == text);
                prop_assert!(kept || columns.contains(&name.as_str()) || value.is_null(), "{name} in {listing:?}");
            }
        }
    }

    #[test]
    fn any_json_is_decoded_or_rejected_whole(value in any_json()) {
        let raw = raw(&value);
        for listing in listings() {
            if let Err(rejected) = Record::decode(&listing, &raw) {
                prop_assert_eq!(rejected.raw.get(), raw.get());
            }
        }
    }

    #[test]
    fn the_order_of_members_does_not_change_the_fingerprint(row in any_row()) {
        let ordered = |reverse: bool| {
            let mut members: Vec<String> =
                row.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
            if reverse {
                members.reverse();
            }
            canonical::hash(&RawValue::from_string(format!("{{{}}}", members.join(","))).unwrap())
        };
        prop_assert_eq!(ordered(false), ordered(true));
    }
}
