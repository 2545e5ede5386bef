//! The set of rows seen in its portable serialization, as base64: runs of numbers, which is what a sweep sees, take a few bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use roaring::RoaringTreemap;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

pub(in crate::sync) fn serialize<S: Serializer>(seen: &RoaringTreemap, serializer: S) -> Result<S::Ok, S::Error> {
    let mut seen = seen.clone();
    seen.optimize();
    let mut bytes = Vec::with_capacity(seen.serialized_size());
    seen.serialize_into(&mut bytes).map_err(S::Error::custom)?;
    serializer.serialize_str(&BASE64.encode(bytes))
}

pub(in crate::sync) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoaringTreemap, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64.decode(text).map_err(D::Error::custom)?;
    RoaringTreemap::deserialize_from(bytes.as_slice()).map_err(D::Error::custom)
}
