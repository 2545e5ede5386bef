//! A real PostgreSQL server for the tests: one a process, started when first needed, gone when the process is.
//!
//! It is found on the PATH, under /usr/lib/postgresql or where `pg_config` says, and runs in a temporary folder on a
//! free loopback port, as another user if the tests run as root, which PostgreSQL refuses. A shell stands between the
//! tests and the server: it waits for the end of its standard input, which comes when the test process ends, however
//! it ends, and then stops the server and removes the folder.
//!
//! `ALLAI_SYNC_TEST_POSTGRES_URL` names a server to use instead; its user must be allowed to create schemas and roles.
//! There the tests leave their schemas (`t<process>_<number>`) behind.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A schema of its own on the shared server.
pub(crate) struct Schema {
    /// `postgres://…`, without a password.
    pub(crate) url: String,
    /// A name nobody else uses; the schema does not exist yet.
    pub(crate) schema: String,
}

/// A fresh schema; starts the server if it is not running.
///
/// # Panics
///
/// If there is no PostgreSQL on this machine, or it does not start: these tests are never skipped.
pub(crate) fn fresh_schema() -> Schema {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Schema {
        url: server_url().to_owned(),
        schema: format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

fn server_url() -> &'static str {
    static SERVER: OnceLock<Server> = OnceLock::new();
    &SERVER
        .get_or_init(|| match std::env::var("ALLAI_SYNC_TEST_POSTGRES_URL") {
            Ok(url) => Server {
                url,
                folder: PathBuf::new(),
                bin: PathBuf::new(),
                as_user: Vec::new(),
                _alive: None,
            },
            Err(_) => start(FAST),
        })
        .url
}

/// A server. Dropped, it is stopped and removed.
pub(crate) struct Server {
    url: String,
    folder: PathBuf,
    bin: PathBuf,
    as_user: Vec<String>,
    /// Its end, when this process ends, is the end of the server.
    _alive: Option<ChildStdin>,
}

/// Settings of a server whose end nobody survives.
const FAST: &str = "-c synchronous_commit=off";

impl Server {
    /// A server of the test's own, for what would disturb the others.
    pub(crate) fn own() -> Self {
        start("-c synchronous_commit=on")
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops it (`fast`: orderly, `immediate`: as a crash does) and starts it again.
    pub(crate) fn restart(&self, mode: &str) {
        self.pg_ctl(&["restart", "-m", mode]);
    }

    /// Stops it (`fast`: orderly, `immediate`: as a crash does).
    pub(crate) fn stop(&self, mode: &str) {
        self.pg_ctl(&["stop", "-m", mode]);
    }

    /// Starts it as it was started before.
    pub(crate) fn start(&self) {
        // Only a restart remembers the settings of the command line; of a stopped server it makes a start.
        self.pg_ctl(&["restart"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let mut words = self.as_user.clone();
        words.push(self.bin.join("pg_ctl").display().to_string());
        let done = Command::new(&words[0])
            .args(&words[1..])
            .args(arguments)
            .args(["-w", "-t", "120", "-D"])
            .arg(self.folder.join("data"))
            .arg("-l")
            .arg(self.folder.join("server.log"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "pg_ctl {arguments:?} did not work"
        );
    }
}

/// Who may connect how. The role `locked` needs a password, for the tests of a wrong one.
const PG_HBA: &str = "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";

const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1 bin=$2 port=$3 more=$4; shift 4
stop() { "$@" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1; rm -rf "$folder"; }
cd "$folder" || exit 1
"$@" "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 &&
"$@" sh -c 'cat > "$0"' "$folder/data/pg_hba.conf" < "$folder/pg_hba.conf" &&
"$@" "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 120 -o "-p $port -h 127.0.0.1 -k '' \
    -c fsync=off $more -c full_page_writes=off -c max_connections=200 -c shared_buffers=32MB" \
    start >>"$folder/log" 2>&1 || {
    cat "$folder/log" "$folder/server.log" 2>/dev/null; stop "$@"; exit 1
}
echo ready
cat >/dev/null
stop "$@"
"#;

fn start(settings: &str) -> Server {
    let bin = find_bin().unwrap_or_else(|| {
        panic!(
            "PostgreSQL is not installed here: initdb and pg_ctl are neither on the PATH nor under \
             /usr/lib/postgresql. Install it (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install \
             postgresql-server; macOS: brew install postgresql@15), or set ALLAI_SYNC_TEST_POSTGRES_URL to a server \
             these tests may create schemas on."
        )
    });
    let mut said = String::new();
    // The free port may be taken by somebody else before the server gets to it.
    for _ in 0..3 {
        match try_start(&bin, settings) {
            Ok(server) => return server,
            Err(output) => said = output,
        }
    }
    panic!("PostgreSQL ({}) did not start:\n{said}", bin.display());
}

fn try_start(bin: &Path, settings: &str) -> Result<Server, String> {
    let folder = tempfile::Builder::new()
        .prefix("allai-sync-postgres-")
        .tempdir()
        .expect("a temporary folder")
        .keep();
    std::fs::write(folder.join("pg_hba.conf"), PG_HBA).expect("a file in the temporary folder");
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let as_user = as_another_user(&folder);
    #[expect(
        clippy::zombie_processes,
        reason = "the shell outlives this process, which is its task"
    )]
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(&folder)
        .arg(bin)
        .arg(port.to_string())
        .arg(settings)
        .args(&as_user)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C ends the tests, and through them the server, rather than the shell that is to stop it.
        .process_group(0)
        .spawn()
        .expect("a shell");
    let stdin = shell.stdin.take();
    let mut output = BufReader::new(shell.stdout.take().expect("its standard output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    if line.trim_end() == "ready" {
        return Ok(Server {
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            folder,
            bin: bin.to_owned(),
            as_user,
            _alive: stdin,
        });
    }
    output.read_to_string(&mut line).ok();
    shell.wait().ok();
    Err(line)
}

fn find_bin() -> Option<PathBuf> {
    let has_both = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    std::env::split_paths(&path)
        .chain(versions)
        .chain(configured)
        .find(has_both)
}

/// As root: the words that make a command run as somebody else, to whom the folder is given. Else none.
fn as_another_user(folder: &Path) -> Vec<String> {
    let Some((user, group)) = another_user() else {
        return Vec::new();
    };
    let done = Command::new("chown")
        .arg("-R")
        .arg(format!("{user}:{group}"))
        .arg(folder)
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "cannot give the folder to {user}"
    );
    words_for(user, &group)
}

/// As root, whom no permission stops: the words that make a command run as somebody else. Else none.
pub(crate) fn not_as_root() -> Vec<String> {
    another_user().map_or_else(Vec::new, |(user, group)| words_for(user, &group))
}

/// As root: another user, and the number of its group.
fn another_user() -> Option<(&'static str, String)> {
    if output_of("id", &["-u"]) != "0" {
        return None;
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| !output_of("id", &["-u", user]).is_empty())
        .expect("a user named postgres or nobody");
    Some((user, output_of("id", &["-g", user])))
}

fn words_for(user: &str, group: &str) -> Vec<String> {
    let words: Vec<&str> = if output_of("setpriv", &["--version"]).is_empty() {
        vec!["runuser", "-u", user, "--"]
    } else {
        vec!["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--"]
    };
    words.into_iter().map(str::to_owned).collect()
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
