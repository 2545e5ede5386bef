//! Who may change something: whoever brings the token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Admin;

/// Proof that a request brought the token, as `Authorization: Bearer TOKEN` (RFC 6750).
pub(super) struct Authorized;

impl FromRequestParts<Admin> for Authorized {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Response> {
        let Some(token) = admin.settings.borrow().token.clone() else {
            return Err((
                StatusCode::FORBIDDEN,
                "this daemon takes no orders: set admin.token in its configuration to allow them\n",
            )
                .into_response());
        };
        let given = parts
            .headers
            .get(header::AUTHORIZATION)
            .map_or(&b""[..], |value| value.as_bytes());
        // The scheme is a word of any case (RFC 9110, 11.1).
        let given = match given.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
            _ => &[],
        };
        // Digests are of one length: nothing is learned from how long it takes.
        if bool::from(Sha256::digest(given).ct_eq(&Sha256::digest(token.expose()))) {
            Ok(Self)
        } else {
            Err((
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, "Bearer")],
                "needs the header `Authorization: Bearer TOKEN`, with admin.token of the configuration\n",
            )
                .into_response())
        }
    }
}
