//! A real Tryton: installed once into the target directory by `tests/tryton/install`, then started on a copy of its database.
//!
//! A shell stands between the tests and the server: it waits for the end of its standard input, which comes when the test
//! process ends, however it ends, and then stops the server and removes the copy.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use allai_connectors::tryton::{Tryton, TrytonConfig};
use serde_json::{Value, json};

/// A running server. Dropped, it is stopped.
pub(crate) struct Server {
    address: SocketAddr,
    folder: PathBuf,
    alive: Option<ChildStdin>,
    shell: Child,
}

const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1 venv=$2 address=$3
stop() { kill -KILL "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$folder"; }
printf '[database]\nuri = sqlite://\npath = %s\n[web]\nlisten = %s\n' "$folder" "$address" >"$folder/trytond.conf"
"$venv/bin/python" "$venv/bin/trytond" -c "$folder/trytond.conf" -d erp </dev/null >"$folder/log" 2>&1 &
server=$!
tries=0
until "$venv/bin/python" -c 'import socket, sys; h, p = sys.argv[1].rsplit(":", 1); socket.create_connection((h, int(p)), 1)' \
        "$address" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$folder/log"; stop; exit 1
    fi
    sleep 0.2
done
echo ready
cat >/dev/null
stop
"#;

impl Server {
    /// The server that the tests share; what one writes, the others may see.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::own)
    }

    /// A server of the test's own.
    ///
    /// # Panics
    ///
    /// If Tryton cannot be installed or does not start: these tests are never skipped.
    pub(crate) fn own() -> Self {
        let installed = installed();
        let mut said = String::new();
        // The free port may be taken by somebody else before the server gets to it.
        for _ in 0..3 {
            match Self::start(installed) {
                Ok(server) => return server,
                Err(output) => said = output,
            }
        }
        panic!("Tryton ({}) did not start:\n{said}", installed.display());
    }

    fn start(installed: &Path) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("allai-tryton-")
            .tempdir()
            .unwrap()
            .keep();
        std::fs::copy(installed.join("erp.sqlite"), folder.join("erp.sqlite")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(installed.join("venv"))
            .arg(address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C ends the tests, and through them the server, rather than the shell that is to stop it.
            .process_group(0)
            .spawn()
            .unwrap();
        let alive = shell.stdin.take();
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        if line.trim_end() == "ready" {
            return Ok(Self {
                address,
                folder,
                alive,
                shell,
            });
        }
        output.read_to_string(&mut line).ok();
        shell.wait().ok();
        Err(line)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The configuration of a connector to it, with these keys besides.
    pub(crate) fn config(&self, more: &Value) -> TrytonConfig {
        let mut config = json!({
            "url": self.url(),
            "database": "erp",
            "username": "allai",
            "password": "pw-Demo-2-allai",
            "timeout": "30s",
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        serde_json::from_value(config).unwrap()
    }

    /// A connector to it, with these keys besides.
    pub(crate) fn connector(&self, more: &Value) -> Tryton {
        Tryton::new(self.config(more)).unwrap()
    }

    /// Ends all sessions, as time does.
    pub(crate) fn end_sessions(&self) {
        const PROGRAM: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
assert database.execute('delete from ir_session').rowcount > 0
database.commit()";
        let done = Command::new(installed().join("venv/bin/python"))
            .args(["-c", PROGRAM])
            .arg(self.folder.join("erp.sqlite"))
            .status();
        assert!(done.is_ok_and(|status| status.success()), "no session was ended");
    }

    /// A turn to write to the shared server. On SQLite, two transactions that create parties at the same time may draw the same
    /// code, and Tryton refuses the second.
    pub(crate) async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        TURN.lock().await
    }

    /// Stops it.
    pub(crate) fn stop(&mut self) {
        drop(self.alive.take());
        self.shell.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder with Tryton and the database; installs it if need be, one process at a time.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tryton");
        std::fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let done = Command::new("sh")
            .arg(super::TRYTON_INSTALL)
            .arg(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "Tryton could not be installed, against which the connector is tested. What stands in the way:\n{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        folder
    })
}
