//! A real PostgreSQL server: one a process, started when first needed, gone when the process is.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::server::{Server, find_bin, start};

/// `user` may do everything without a password; `reader` needs one, `secret`.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1 bin=$2 port=$3; shift 3
stop() { "$@" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1; rm -rf "$folder"; }
cd "$folder" || exit 1
"$@" "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 &&
printf '%s\n' 'host all reader 127.0.0.1/32 scram-sha-256' 'host all all 127.0.0.1/32 trust' |
    "$@" sh -c 'cat > "$0"' "$folder/data/pg_hba.conf" &&
"$@" "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 120 -o "-p $port -h 127.0.0.1 -k '' \
    -c fsync=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=32MB" \
    start >>"$folder/log" 2>&1 || {
    cat "$folder/log" "$folder/server.log" 2>/dev/null; stop "$@"; exit 1
}
echo ready
cat >/dev/null
stop "$@"
"#;

/// The port of the server.
///
/// # Panics
///
/// If there is no PostgreSQL on this machine, or it does not start: these tests are never skipped.
pub(crate) fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER
        .get_or_init(|| start("postgres", SCRIPT, &bin(&["initdb", "pg_ctl"]), |_| {}))
        .port
}

/// The folder with these programs of PostgreSQL's.
///
/// # Panics
///
/// If there is none on this machine.
pub(super) fn bin(programs: &[&str]) -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let version = folder.file_name()?.to_str()?.parse().ok()?;
            Some((version, folder.join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    find_bin(programs, versions.into_iter().map(|(_, folder)| folder)).unwrap_or_else(|| {
        panic!(
            "PostgreSQL is not installed here: {} are neither on the PATH nor under /usr/lib/postgresql (Debian, \
             Ubuntu: apt-get install postgresql)",
            programs.join(", ")
        )
    })
}
