//! A webhook's body and signature.

use allai_sync::allai::signature;
use allai_sync::warehouse::Entity;
use allai_sync::webhooks::{read_event, signed_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::DateTime;
use secrecy::SecretString;

/// The input's first line is what stands in the header, the rest is the body.
pub(crate) fn hold(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let secrets = [SecretString::from("new"), SecretString::from("old")];

    let made_up = String::from_utf8_lossy(header);
    let genuine = signature::sign(&secrets[1], body);
    let digest = made_up.trim().to_ascii_lowercase();
    let is_genuine = secrets.iter().any(|secret| {
        let own = signature::sign(secret, body);
        digest == own
            || digest
                .strip_prefix("sha256=")
                .is_some_and(|digest| digest.trim() == own)
    });
    assert_eq!(signature::verify(&secrets, body, &made_up), is_genuine);
    assert!(signature::verify(&secrets, body, &genuine));
    if let Some(last) = body.last() {
        let mut altered = body.to_vec();
        *altered.last_mut().expect("it is not empty") = last ^ 1;
        assert!(!signature::verify(&secrets, &altered, &genuine));
    }

    let event = read_event("main", body, DateTime::UNIX_EPOCH);
    assert!(!event.id.is_empty() && event.id.len() <= 255);
    let texts = [
        Some(&event.id),
        event.event.as_ref(),
        Some(&event.body),
        event.problem.as_ref(),
    ];
    assert!(texts.into_iter().flatten().all(|text| !text.contains('\0')));
    assert!(event.event.is_some() || event.problem.is_some());
    match event.body.strip_prefix("base64:") {
        Some(encoded) if event.body.as_bytes() != body => {
            assert_eq!(BASE64.decode(encoded).expect("it was encoded"), body);
        }
        _ => assert_eq!(event.body.as_bytes(), body),
    }
    if let Entity::Conversation(id) | Entity::Contact(id) = &event.entity {
        assert!(!id.trim().is_empty() && id.len() <= 255 && !id.contains('\0'));
    }

    // What was signed is read the same when it is signed again.
    if let Some(signed) = signed_text(body) {
        assert_eq!(signed_text(signed.as_bytes()).as_deref(), Some(signed.as_str()));
    }
}
