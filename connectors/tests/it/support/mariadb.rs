//! A real MariaDB server: one a process, started when first needed, gone when the process is.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::server::{Server, find_bin, start};

/// `admin` may do everything without a password.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1 bin=$2 port=$3; shift 3
PATH="$PATH:/usr/sbin:$bin"
cd "$folder" || exit 1
printf '%s\n' "CREATE USER IF NOT EXISTS admin@'127.0.0.1';" "GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;" |
    "$@" sh -c 'cat > "$0"' "$folder/init.sql"
"$@" mariadb-install-db --no-defaults --datadir="$folder/data" --auth-root-authentication-method=normal \
    --skip-test-db >"$folder/log" 2>&1 || { cat "$folder/log"; rm -rf "$folder"; exit 1; }
"$@" "$bin/mariadbd" --no-defaults --datadir="$folder/data" --port="$port" --bind-address=127.0.0.1 \
    --socket="$folder/socket" --pid-file="$folder/pid" --init-file="$folder/init.sql" --skip-name-resolve \
    --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=32M --log-bin-trust-function-creators=1 \
    --character-set-server=utf8mb4 >"$folder/server.log" 2>&1 </dev/null &
server=$!
stop() { kill -9 "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$folder"; }
tries=0
until mariadb --no-defaults --host=127.0.0.1 --port="$port" --user=admin --execute="SELECT 1" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 600 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$folder/server.log"; stop; exit 1
    fi
    sleep 0.2
done
echo ready
cat >/dev/null
stop
"#;

/// The port of the server.
///
/// # Panics
///
/// If there is no MariaDB on this machine, or it does not start: these tests are never skipped.
pub(crate) fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let bin = find_bin(&["mariadbd"], [PathBuf::from("/usr/sbin")]).expect(
                "MariaDB is not installed here: mariadbd is neither on the PATH nor in /usr/sbin (Debian, Ubuntu: \
                 apt-get install mariadb-server-core mariadb-client-core)",
            );
            start("mariadb", SCRIPT, &bin, |_| {})
        })
        .port
}
