//! The `allai-sync` binary.

fn main() {}
