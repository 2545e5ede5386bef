//! Who is told what, and how often.

use std::sync::{Arc, Mutex};

use allai_sync::sandbox::Options;
use axum::Json;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::{Daemon, OFTEN, runs, until};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    a_refused_key_is_told_once_and_again_when_it_is_over,
    deletions_that_are_held_back_are_told_by_mail,
}

/// What was posted to an address that fails the first time.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Vec<Value>>>);

impl Hook {
    /// Where it listens.
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posted = Arc::clone(&self.0);
        let route = post(async move |Json(body): Json<Value>| {
            posted.lock().unwrap().push(body);
            StatusCode::NO_CONTENT
        });
        tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().route("/hook/a-secret", route))
                .await
                .unwrap();
        });
        format!("http://{address}/hook/a-secret")
    }

    fn posted(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

async fn a_refused_key_is_told_once_and_again_when_it_is_over(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(20, 3)).await;
    let (json, slack) = (Hook::default(), Hook::default());
    let url = json.listen().await;
    let alerts = format!("[alerts.webhook]\nurl = \"{url}\"\n");
    let good = mirror.account_config("main", "");
    let bad = good.replace(&mirror.sandbox.keys().read, "revoked");
    mirror.configure(&format!("{bad}{OFTEN}{alerts}"));
    let mut daemon = Daemon::start(&mirror).await;
    until("it is told", async || !json.posted().is_empty()).await;
    let told = &json.posted()[0];
    assert_eq!(told["status"], "firing");
    assert_eq!(told["incident"]["kind"], "key_refused");
    assert_eq!(told["incident"]["account"], "main");
    assert!(
        told["incident"]["remedy"]
            .as_str()
            .unwrap()
            .contains("accounts.main.api_key"),
        "{told}"
    );
    // All four jobs go on failing, and it is one incident.
    let failed = runs(&mirror, "status = 'failed'").await;
    until("more fail", async || {
        runs(&mirror, "status = 'failed'").await > failed + 4
    })
    .await;

    let url = slack.listen().await;
    mirror.configure(&format!(
        "{good}{OFTEN}[alerts.webhook]\nurl = \"{url}\"\nformat = \"slack\"\n"
    ));
    daemon.process.signal("HUP");
    until("it is told that it is over", async || !slack.posted().is_empty()).await;
    let text = slack.posted()[0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("over since") && text.contains("account main"), "{text}");
    assert_eq!(
        (json.posted().len(), slack.posted().len()),
        (1, 1),
        "{:?} {:?}",
        json.posted(),
        slack.posted()
    );
    assert!(!daemon.log().contains("a-secret"), "{}", daemon.log());
    daemon.stop().await.0.expect(0);
}

/// Takes mail as RFC 5321 says, without TLS, and keeps it.
async fn mail_server(mails: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let mails = Arc::clone(&mails);
            tokio::spawn(async move {
                let (read, mut write) = connection.into_split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(b"220 test\r\n").await.unwrap();
                let mut mail: Option<String> = None;
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer: &[u8] = match &mut mail {
                        Some(text) if line == "." => {
                            mails.lock().unwrap().push(std::mem::take(text));
                            mail = None;
                            b"250 taken\r\n"
                        }
                        Some(text) => {
                            text.extend([line.as_str(), "\n"]);
                            continue;
                        }
                        None if line == "DATA" => {
                            mail = Some(String::new());
                            b"354 go on\r\n"
                        }
                        None if line.starts_with("QUIT") => b"221 bye\r\n",
                        None => b"250 ok\r\n",
                    };
                    if write.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("smtp://{address}")
}

async fn deletions_that_are_held_back_are_told_by_mail(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(60, 3)).await;
    let mails = Arc::new(Mutex::new(Vec::new()));
    let server = mail_server(Arc::clone(&mails)).await;
    mirror.configure(&format!(
        "{}{OFTEN}[alerts.mail]\nserver = \"{server}\"\nfrom = \"allai-sync <sync@example.com>\"\n\
         to = [\"Ana <ana@example.com>\", \"ion@example.com\"]\n",
        mirror.account_config("main", "")
    ));
    let daemon = Daemon::start(&mirror).await;
    until("all is mirrored", async || {
        runs(&mirror, "resource = 'contacts' AND verified").await > 0
    })
    .await;
    for id in mirror.sandbox.account().contact_ids().iter().take(40) {
        mirror.sandbox.account().delete_contact(id);
    }
    daemon.ask("main.contacts/run?full=true", Some("sesame")).await;
    until("mail arrives", async || !mails.lock().unwrap().is_empty()).await;
    let mail = mails.lock().unwrap()[0].clone();
    assert!(
        mail.contains("Ana <ana@example.com>") && mail.contains("ion@example.com"),
        "{mail}"
    );
    let text = mail.replace("=\n", "");
    assert!(text.contains("--allow-mass-delete"), "{mail}");
    // Somebody does that.
    mirror
        .say(&["sync", "contacts", "--full", "--allow-mass-delete"])
        .expect(0);
    until("it is told that it is over", async || mails.lock().unwrap().len() == 2).await;
    assert!(
        mails.lock().unwrap()[1].contains("over: "),
        "{:?}",
        mails.lock().unwrap()
    );
    daemon.stop().await.0.expect(0);
}
