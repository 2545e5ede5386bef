//! The signature on a webhook: the hex HMAC-SHA256 of the raw body, in `X-AllAI-Signature`.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Whether `header` is the signature of `body` under any of the `secrets` (more than one while a secret is being
/// replaced). The digest may be prefixed `sha256=` and written in either case.
///
/// `body` must be the bytes as they arrived: JSON that was parsed and written again need not be the same. The
/// comparison takes the same time whether it fails at the first byte or the last.
///
/// ```
/// use allai_sync::allai::signature;
/// use secrecy::SecretString;
///
/// let secrets = [SecretString::from("webhook_secret")];
/// let body = br#"{"event":"lead.created"}"#;
/// let header = signature::sign(&secrets[0], body);
/// assert!(signature::verify(&secrets, body, &header));
/// assert!(!signature::verify(&secrets, b"{}", &header));
/// ```
pub fn verify<'a>(secrets: impl IntoIterator<Item = &'a SecretString>, body: &[u8], header: &str) -> bool {
    let Some(digest) = digest(header) else {
        return false;
    };
    // Every secret is tried, so that the time taken does not tell which one matched.
    let mut valid = false;
    for secret in secrets {
        valid |= !secret.expose_secret().is_empty() && mac(secret, body).verify_slice(&digest).is_ok();
    }
    valid
}

/// Whether `header` may be the signature of some body.
pub fn is_well_formed(header: &str) -> bool {
    digest(header).is_some()
}

fn digest(header: &str) -> Option<[u8; 32]> {
    let header = header.trim();
    let digits = match header.split_at_checked("sha256=".len()) {
        Some((prefix, digits)) if prefix.eq_ignore_ascii_case("sha256=") => digits,
        _ => header,
    };
    let mut digest = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut digest).ok()?;
    Some(digest)
}

/// The signature of `body` under `secret`, as the API would send it.
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    hex::encode(mac(secret, body).finalize().into_bytes())
}

fn mac(secret: &SecretString, body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("any length");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"what do ya want for nothing?";
    /// RFC 4231, test case 2.
    const DIGEST: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    #[test]
    fn a_genuine_signature_is_accepted_in_each_spelling() {
        let secrets = secrets(&["Jefe"]);
        for header in [
            DIGEST.to_owned(),
            format!("sha256={DIGEST}"),
            format!(" SHA256={} ", DIGEST.to_uppercase()),
        ] {
            assert!(verify(&secrets, BODY, &header), "{header}");
        }
    }

    #[test]
    fn any_active_secret_will_do_while_one_is_being_replaced() {
        assert!(verify(&secrets(&["new", "Jefe"]), BODY, DIGEST));
        assert!(!verify(&secrets(&["new", "newer"]), BODY, DIGEST));
        assert!(!verify(&secrets(&[]), BODY, DIGEST));
    }

    #[test]
    fn anything_else_is_refused() {
        let secrets = secrets(&["Jefe"]);
        for header in [
            "",
            "sha256=",
            "zz",
            &DIGEST[..62],
            &format!("{DIGEST}00"),
            "sha1=00",
            "ș",
        ] {
            assert!(!verify(&secrets, BODY, header), "{header}");
        }
        assert!(!verify(&secrets, b"what do ya want for nothing", DIGEST));
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let empty = secrets(&[""]);
        assert!(!verify(&empty, BODY, &sign(&empty[0], BODY)));
    }
}
