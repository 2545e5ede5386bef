//! A real Odoo 11: installed once into the target directory by `tests/odoo/install`, then started on a copy of its database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use allai_connectors::odoo::{Odoo, OdooConfig};
use serde_json::{Value, json};

use super::postgres;
use super::server::{Server, start};

/// Odoo, and the PostgreSQL that it needs, which has a database `template` that nobody is connected to. Odoo's port is in the
/// file `port`.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1 bin=$2 port=$3; shift 3
installed=$(cat "$folder/installed")
stop() {
    [ -z "$odoo" ] || kill -KILL "$odoo" 2>/dev/null
    "$@" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
    rm -rf "$folder"
}
cd "$folder" || exit 1
odoo=
"$@" "$bin/initdb" -D "$folder/data" -U odoo -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 &&
"$@" "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 120 -o "-p $port -h 127.0.0.1 -k '' -F" \
    start >>"$folder/log" 2>&1 &&
"$bin/createdb" -h 127.0.0.1 -p "$port" -U odoo template >>"$folder/log" 2>&1 &&
"$bin/pg_restore" -h 127.0.0.1 -p "$port" -U odoo --no-owner -d template "$installed/seeded.dump" >>"$folder/log" 2>&1 || {
    cat "$folder/log" "$folder/server.log" 2>/dev/null; stop "$@"; exit 1
}
http=$("$installed/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo "$http" >"$folder/port"
mkdir "$folder/files"
printf '[options]\ndb_host = 127.0.0.1\ndb_port = %s\ndb_user = odoo\ndb_password = none\nxmlrpc_interface = 127.0.0.1\nxmlrpc_port = %s\ndata_dir = %s\nmax_cron_threads = 0\n' \
    "$port" "$http" "$folder/files" >"$folder/odoo.conf"
"$installed/venv/bin/python" "$(cat "$folder/serve")" -c "$folder/odoo.conf" </dev/null >"$folder/odoo.log" 2>&1 &
odoo=$!
tries=0
until "$installed/venv/bin/python" -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' \
        "$http" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$odoo" 2>/dev/null; then
        cat "$folder/odoo.log"; stop "$@"; exit 1
    fi
    sleep 0.2
done
echo ready
cat >/dev/null
stop "$@"
"#;

/// A database of the server's.
pub(crate) struct Database {
    pub(crate) name: String,
}

struct Running {
    postgres: Server,
    http: u16,
}

fn running() -> &'static Running {
    static SERVER: OnceLock<Running> = OnceLock::new();
    SERVER.get_or_init(|| {
        let installed = installed();
        let prepare = |folder: &Path| {
            let serve = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odoo/serve.py");
            std::fs::write(folder.join("installed"), installed.as_os_str().as_encoded_bytes()).unwrap();
            std::fs::write(folder.join("serve"), serve).unwrap();
        };
        let programs = ["initdb", "pg_ctl", "pg_restore", "createdb"];
        let postgres = start("odoo", SCRIPT, &postgres::bin(&programs), prepare);
        let port = std::fs::read_to_string(postgres.folder.join("port")).unwrap();
        Running {
            http: port.trim().parse().unwrap(),
            postgres,
        }
    })
}

/// The server's address.
pub(crate) fn url() -> String {
    format!("http://127.0.0.1:{}", running().http)
}

impl Database {
    /// The database that the tests share; what one writes, the others may see.
    pub(crate) fn shared() -> &'static Self {
        static DATABASE: OnceLock<Database> = OnceLock::new();
        DATABASE.get_or_init(Self::own)
    }

    /// A database of the test's own.
    ///
    /// # Panics
    ///
    /// If Odoo cannot be installed or does not start.
    pub(crate) fn own() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // One copy of the template at a time.
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock().unwrap();
        let name = format!("erp{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let port = running().postgres.port.to_string();
        let bin = postgres::bin(&["createdb"]);
        let done = Command::new(bin.join("createdb"))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "odoo", "-T", "template", &name])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "no copy of the database");
        Self { name }
    }

    /// The URL of the database itself.
    pub(crate) fn postgres_url(&self) -> String {
        format!("postgres://odoo@127.0.0.1:{}/{}", running().postgres.port, self.name)
    }

    /// The configuration of a connector to it, with these keys besides.
    pub(crate) fn config(&self, more: &Value) -> OdooConfig {
        let mut config = json!({
            "url": url(),
            "database": self.name,
            "username": "allai",
            "password": "pw-Demo-2-allai",
            // The first question has it load the database's models.
            "timeout": "60s",
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        serde_json::from_value(config).unwrap()
    }

    /// A connector to it, with these keys besides.
    pub(crate) fn connector(&self, more: &Value) -> Odoo {
        Odoo::new(self.config(more)).unwrap()
    }
}

/// The folder with Odoo and the database; installs it if need be, one process at a time.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("odoo");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odoo/install"))
        .arg(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "Odoo could not be installed, against which the connector is tested. What stands in the way:\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    folder
}
