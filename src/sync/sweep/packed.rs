//! Fingerprints as base64: in decimal they are twice as long, and a checkpoint is written every few pages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(keys: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_be_bytes()).collect();
    serializer.serialize_str(&BASE64.encode(bytes))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let bytes = BASE64
        .decode(String::deserialize(deserializer)?)
        .map_err(D::Error::custom)?;
    let (keys, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(D::Error::custom("half a fingerprint"));
    }
    Ok(keys.iter().map(|key| u64::from_be_bytes(*key)).collect())
}
