//! A real Chromium without a window, driven by its own protocol over a pair of pipes.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>; the pipes are `--remote-debugging-pipe`: file descriptor 3 for what
//! it is told, 4 for what it says, each message with a NUL at its end.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a slow machine may need for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one tab.
pub(crate) struct Browser {
    process: Child,
    told: File,
    said: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    events: Vec<Value>,
    _folder: TempDir,
}

impl Browser {
    /// Starts the Chromium that is installed.
    ///
    /// # Panics
    ///
    /// If none is installed.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (told, said) = (folder.path().join("told"), folder.path().join("said"));
        let made = Command::new("mkfifo").args([&told, &said]).status().unwrap();
        assert!(made.success());
        // The shell gives the pipes their numbers, which takes unsafe code here.
        let process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<"$TOLD" 4>"$SAID""#])
            .arg(installed())
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg("about:blank")
            .env("TOLD", &told)
            .env("SAID", &said)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // So that its helpers end with it.
            .process_group(0)
            .spawn()
            .unwrap();
        let told = OpenOptions::new().write(true).open(&told).unwrap();
        let mut browser = Self {
            process,
            told,
            said: messages(&said),
            calls: 0,
            session: None,
            events: Vec::new(),
            _folder: folder,
        };
        let tab = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let tab = json!({ "targetId": tab["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &tab);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut message = message.to_string().into_bytes();
        message.push(0);
        self.told.write_all(&message).unwrap();
        loop {
            let mut answer = self.next();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn next(&mut self) -> Value {
        self.said.recv_timeout(PATIENCE).expect("the browser is silent")
    }

    /// Opens a page and waits until it is loaded. What went before is forgotten.
    pub(crate) fn open(&mut self, url: &str) {
        self.events.clear();
        self.call("Page.navigate", &json!({ "url": url }));
        while !self.has_said("Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
    }

    fn has_said(&self, method: &str) -> bool {
        self.events.iter().any(|event| event["method"] == method)
    }

    /// What an expression in JavaScript gives, on the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let waiting = format!(
            "(async () => {{ for (let i = 0; i < 300; i++) {{ if ({expression}) return true; \
             await new Promise((done) => setTimeout(done, 100)); }} return document.body.innerText; }})()"
        );
        assert_eq!(self.evaluate(&waiting), true, "in vain: {expression}");
    }

    /// Sets the size of the screen, as of a phone if it is narrow.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What was asked for since the page was opened.
    pub(crate) fn requests(&self) -> Vec<&str> {
        let requests = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        requests
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect()
    }

    /// What the console shows since the page was opened: errors, warnings, what the policy forbade.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let is_one = |event: &&Value| {
            ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"]
                .iter()
                .any(|method| event["method"] == *method)
        };
        self.events.iter().filter(is_one).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        Command::new("kill").args(["-KILL", "--", &group]).status().ok();
        self.process.wait().ok();
    }
}

/// What comes out of a pipe, message by message, until its end.
fn messages(pipe: &Path) -> Receiver<Value> {
    let mut pipe = BufReader::new(File::open(pipe).unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut message = Vec::new();
        while pipe.read_until(0, &mut message).is_ok_and(|read| read > 0) {
            message.pop();
            if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                break;
            }
            message.clear();
        }
    });
    receiver
}

fn installed() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .expect("chromium, chromium-browser or google-chrome in PATH: scripts/test installs it")
}
