//! How the program is linked.

use std::process::Command;

/// The first glibc that starts programs whose relocations are packed
/// (<https://sourceware.org/glibc/wiki/Release/2.36>, `DT_RELR`).
const PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_glibc = std::env::var("TARGET").is_ok_and(|target| target.ends_with("linux-gnu"));
    if is_glibc && glibc().is_some_and(|version| version >= PACKED) {
        // They are a twelfth of what is read at the start, and stay in memory.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc; a program that was built on it need not start on an older one.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("ldd").arg("--version").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let (major, minor) = said.lines().next()?.rsplit(' ').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
