//! Servers that live as long as the test process.
//!
//! Each runs in a temporary folder on a free loopback port, as another user if the tests run as root, which database servers
//! refuse. A shell stands between the tests and the server: it waits for the end of its standard input, which comes when the
//! test process ends, however it ends, and then stops the server and removes the folder.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

/// A running server. Dropped, it is stopped and removed.
pub(super) struct Server {
    pub(super) port: u16,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its end, when this process ends, is the end of the server.
    _alive: Option<ChildStdin>,
}

/// Runs a script that is given a folder, the folder of the server's programs, a port and the words that make a command run as
/// another user; it says `ready` once the server is. `prepare` puts into the folder what the script finds there.
pub(super) fn start(name: &str, script: &str, bin: &Path, prepare: impl Fn(&Path)) -> Server {
    let mut said = String::new();
    // The free port may be taken by somebody else before the server gets to it.
    for _ in 0..3 {
        match try_start(name, script, bin, &prepare) {
            Ok(server) => return server,
            Err(output) => said = output,
        }
    }
    panic!("{name} ({}) did not start:\n{said}", bin.display());
}

fn try_start(name: &str, script: &str, bin: &Path, prepare: &impl Fn(&Path)) -> Result<Server, String> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("allai-{name}-"))
        .tempdir()
        .expect("a temporary folder")
        .keep();
    prepare(&folder);
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
        .args(["-c", script, "sh"])
        .arg(&folder)
        .arg(bin)
        .arg(port.to_string())
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
            port,
            folder,
            _alive: stdin,
        });
    }
    output.read_to_string(&mut line).ok();
    shell.wait().ok();
    Err(line)
}

/// The first folder with all of these programs in it: of the PATH, then of those named.
pub(super) fn find_bin(programs: &[&str], more: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more)
        .find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}

/// As root: the words that make a command run as somebody else, to whom the folder is given. Else none.
fn as_another_user(folder: &Path) -> Vec<String> {
    if output_of("id", &["-u"]) != "0" {
        return Vec::new();
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| !output_of("id", &["-u", user]).is_empty())
        .expect("a user named postgres or nobody");
    let group = output_of("id", &["-g", user]);
    let done = Command::new("chown")
        .arg("-R")
        .arg(format!("{user}:{group}"))
        .arg(folder)
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "cannot give the folder to {user}"
    );
    let words = if output_of("setpriv", &["--version"]).is_empty() {
        vec!["runuser", "-u", user, "--"]
    } else {
        vec!["setpriv", "--reuid", user, "--regid", &group, "--clear-groups", "--"]
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
