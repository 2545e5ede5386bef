//! Who is told what, and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use allai_sync::alerts::Notifier;
use allai_sync::config::Alerts;
use allai_sync::sandbox::Options;
use allai_sync::warehouse::{Incident, IncidentKind, Told, Way};
use axum::Json;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Daemon, OFTEN, runs, until};
use crate::support::database::Database;
use crate::support::mail::{mail_server, strict_mail_server};
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    a_refused_key_is_told_once_and_again_when_it_is_over,
    deletions_that_are_held_back_are_told_by_mail,
    what_was_told_is_not_told_again_by_who_comes_after,
    what_is_gone_from_the_configuration_needs_nobody,
}

/// What was posted to an address.
#[derive(Clone)]
pub(super) struct Hook {
    posted: Arc<Mutex<Vec<Value>>>,
    /// What the posts are answered, by their number from 0; `None`: nothing.
    answer: fn(usize) -> Option<StatusCode>,
}

impl Default for Hook {
    fn default() -> Self {
        Self::answering(|_| Some(StatusCode::NO_CONTENT))
    }
}

impl Hook {
    fn answering(answer: fn(usize) -> Option<StatusCode>) -> Self {
        let posted = Arc::default();
        Self { posted, answer }
    }

    /// Where it listens.
    pub(super) async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let Self { posted, answer } = self.clone();
        let route = post(async move |Json(body): Json<Value>| {
            let answer = {
                let mut posted = posted.lock().unwrap();
                posted.push(body);
                answer(posted.len() - 1)
            };
            match answer {
                Some(status) => status,
                None => std::future::pending().await,
            }
        });
        tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().route("/hook/a-secret", route))
                .await
                .unwrap();
        });
        format!("http://{address}/hook/a-secret")
    }

    pub(super) fn posted(&self) -> Vec<Value> {
        self.posted.lock().unwrap().clone()
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

/// Of two daemons on one warehouse one tells, and of a key that may not read one list only that is told.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_daemons_tells_what_a_key_may_not_read() {
    let mirror = Mirror::start(Database::postgres(), Options::for_tests(20, 3)).await;
    let hook = Hook::default();
    let url = hook.listen().await;
    forbid_reading(&mirror, &url);
    let daemons = [
        Daemon::called(&mirror, "one").await,
        Daemon::called(&mirror, "two").await,
    ];
    let told = async || {
        let posted = hook.posted();
        let mut told: Vec<String> = posted
            .iter()
            .map(|posted| format!("{} {}", posted["incident"]["resource"], posted["incident"]["kind"]))
            .collect();
        told.sort();
        told
    };
    until("each list is told of", async || told().await.len() >= 3).await;
    let clock = allai_sync::clock::SystemClock::shared();
    clock.sleep(std::time::Duration::from_secs(12)).await;
    // Without conversations there are no messages to ask for.
    let expected = ["analytics", "contacts", "conversations"];
    let posted = told().await;
    assert_eq!(
        posted,
        expected.map(|list| format!("\"{list}\" \"forbidden\"")),
        "{posted:?}"
    );
    for daemon in daemons {
        daemon.stop().await.0.expect(0);
    }
}

/// A mirror with a key that may write and not read, of which three incidents are posted.
fn forbid_reading(mirror: &Mirror, url: &str) {
    let keys = mirror.sandbox.keys();
    let config = mirror.account_config("main", "").replace(&keys.read, &keys.write);
    mirror.configure(&format!("{config}{OFTEN}[alerts.webhook]\nurl = \"{url}\"\n"));
}

/// Which resources were told of, in order.
fn told_of(hook: &Hook) -> Vec<String> {
    let posted = hook.posted();
    let resources = posted
        .iter()
        .map(|posted| posted["incident"]["resource"].as_str().unwrap().to_owned());
    resources.collect()
}

async fn what_was_told_is_not_told_again_by_who_comes_after(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(20, 3)).await;
    // The second one is not answered.
    let hook = Hook::answering(|number| (number != 1).then_some(StatusCode::NO_CONTENT));
    forbid_reading(&mirror, &hook.listen().await);
    let daemon = Daemon::start(&mirror).await;
    until("a second one is being told", async || hook.posted().len() == 2).await;
    let known = mirror
        .database
        .rows("SELECT resource FROM incidents WHERE webhook_told = 1")
        .await;
    let known: Vec<&str> = known.iter().map(|row| row.text("resource")).collect();
    assert_eq!(known, [told_of(&hook)[0].as_str()]);
    daemon.process.kill();

    // Its time for telling is over.
    mirror
        .database
        .execute("UPDATE incidents SET telling_until = NULL")
        .await;
    let daemon = Daemon::start(&mirror).await;
    until("the rest is told", async || hook.posted().len() == 4).await;
    let mut told = told_of(&hook);
    // The second one was not known to be told.
    told.remove(1);
    told.sort();
    assert_eq!(told, ["analytics", "contacts", "conversations"]);
    daemon.stop().await.0.expect(0);
}

/// How many incidents of an account there are that are over, and that are not.
async fn incidents(mirror: &Mirror, account: &str) -> (usize, usize) {
    let of_it = format!("SELECT resolved_at FROM incidents WHERE account = '{account}' AND resolved_at IS");
    let over = mirror.database.rows(&format!("{of_it} NOT NULL")).await.len();
    (over, mirror.database.rows(&format!("{of_it} NULL")).await.len())
}

/// At a reload and at a start.
async fn what_is_gone_from_the_configuration_needs_nobody(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(20, 3)).await;
    let hook = Hook::default();
    let alerts = format!("[alerts.webhook]\nurl = \"{}\"\n", hook.listen().await);
    let main = mirror.account_config("main", "");
    let [one, two] = ["one", "two"].map(|name| main.replace("main", name).replace(&mirror.sandbox.keys().read, name));
    mirror.configure(&format!("{main}{one}{two}{OFTEN}{alerts}"));
    let mut daemon = Daemon::start(&mirror).await;
    until("both keys are refused", async || hook.posted().len() == 2).await;

    mirror.configure(&format!("{main}{two}{OFTEN}{alerts}"));
    daemon.reload().await;
    until("the one is over", async || incidents(&mirror, "one").await == (1, 0)).await;
    assert_eq!(incidents(&mirror, "two").await, (0, 1));
    daemon.stop().await.0.expect(0);
    mirror.configure(&format!("{main}{OFTEN}{alerts}"));
    let daemon = Daemon::start(&mirror).await;
    until("the other is over", async || incidents(&mirror, "two").await == (1, 0)).await;
    until("that is told", async || hook.posted().len() == 4).await;
    assert!(
        hook.posted()[2..].iter().all(|told| told["status"] == "resolved"),
        "{:?}",
        hook.posted()
    );
    daemon.stop().await.0.expect(0);
}

/// Each of two daemons has accounts of its own: that one does not know the other's does not make them be gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_daemon_keeps_is_not_gone() {
    let mirror = Mirror::start(Database::postgres(), Options::for_tests(20, 3)).await;
    let main = mirror.account_config("main", "");
    let [gone, other] =
        ["gone", "other"].map(|name| main.replace("main", name).replace(&mirror.sandbox.keys().read, name));
    mirror.configure(&format!("{other}{OFTEN}"));
    std::fs::rename(mirror.config_path(), mirror.folder().join("other.toml")).unwrap();
    let command = mirror.command(&["run", "-c", "other.toml"]);
    let mut second = Daemon::of(&mirror, command, "second");
    second.until_log("ready").await;
    mirror.configure(&format!("{main}{gone}{OFTEN}"));
    let first = Daemon::start(&mirror).await;
    until("both keys are refused", async || {
        incidents(&mirror, "gone").await == (0, 1) && incidents(&mirror, "other").await == (0, 1)
    })
    .await;

    // Also while the other one is down for a while.
    second.process.signal("STOP");
    first.stop().await.0.expect(0);
    mirror.configure(&format!("{main}{OFTEN}"));
    let first = Daemon::start(&mirror).await;
    until("the one is over", async || incidents(&mirror, "gone").await == (1, 0)).await;
    assert_eq!(incidents(&mirror, "other").await, (0, 1));
    second.process.signal("CONT");
    first.stop().await.0.expect(0);
    second.stop().await.0.expect(0);
    assert_eq!(incidents(&mirror, "other").await, (0, 1));
}

/// It is never taken, and holds up nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_given_up_and_the_log_says_so() {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(20, 3)).await;
    let hook = Hook::answering(|number| {
        Some(if number == 0 {
            StatusCode::GONE
        } else {
            StatusCode::NO_CONTENT
        })
    });
    forbid_reading(&mirror, &hook.listen().await);
    let mut daemon = Daemon::start(&mirror).await;
    daemon.until_log("an alert is refused for good").await;
    daemon.until_log("the webhook: it answered 410 Gone").await;
    let open = "SELECT account FROM incidents WHERE resolved_at IS NULL AND webhook_told";
    until("all is told", async || {
        hook.posted().len() == 3 && mirror.database.rows(&format!("{open} = 1")).await.len() == 2
    })
    .await;
    assert_eq!(mirror.database.rows(&format!("{open} = 0")).await.len(), 0);
    let mut told = told_of(&hook);
    told.sort();
    assert_eq!(told, ["analytics", "contacts", "conversations"]);
    daemon.stop().await.0.expect(0);
}

/// Neither a mail that is refused for good holds up those behind it, nor a recipient those beside.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_refuses_something_for_good_takes_the_rest() {
    let clock = allai_sync::clock::SystemClock::shared();
    let within = std::time::Duration::from_mins(2);
    for (refused, taken) in [("contacts are stale", 1), ("RCPT TO:<gone@example.com>", 2)] {
        let mails = Arc::new(Mutex::new(Vec::new()));
        let server = strict_mail_server(Arc::clone(&mails), refused).await;
        let notifier = Notifier::new(&alerts(&format!(
            "[alerts.mail]\nserver = \"{server}\"\nfrom = \"a@example.com\"\n\
             to = [\"gone@example.com\", \"b@example.com\"]\n"
        )));
        let mut incidents = [incident("contacts", false), incident("messages", false)];
        let problems = notifier.unwrap().tell(&mut incidents, None, &clock, within).await;
        assert!(problems.is_empty(), "{problems:?}");
        assert!(!incidents.iter().any(|one| one.is_due(Way::Mail)));
        let mails = mails.lock().unwrap();
        assert_eq!(mails.len(), taken, "{mails:?}");
        assert!(mails[taken - 1].contains("messages are stale"), "{mails:?}");
    }
}

fn incident(resource: &str, is_over: bool) -> Incident {
    let at = |text: &str| format!("2026-03-01T{text}Z").parse().unwrap();
    Incident {
        account: "main".to_owned(),
        resource: resource.to_owned(),
        kind: IncidentKind::Stale,
        opened_at: at("10:00:00"),
        summary: format!("{resource} are stale"),
        remedy: "look at the log".to_owned(),
        resolved_at: is_over.then(|| at("11:00:00")),
        told: Told::default(),
    }
}

fn alerts(text: &str) -> Alerts {
    let text = format!("[accounts.main]\napi_key = \"k\"\n{text}");
    allai_sync::config::check_text(&text, &BTreeMap::new())
        .unwrap()
        .config
        .alerts
}

/// What one way has taken is not told again because another failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_fails_does_not_make_the_other_one_tell_twice() {
    let (hook, mails) = (Hook::default(), Arc::new(Mutex::new(Vec::new())));
    let url = hook.listen().await;
    let server = mail_server(Arc::clone(&mails)).await;
    let of = |webhook: &str| {
        let mail =
            format!("[alerts.mail]\nserver = \"{server}\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n");
        Notifier::new(&alerts(&format!("[alerts.webhook]\nurl = \"{webhook}\"\n{mail}"))).unwrap()
    };
    let clock = allai_sync::clock::SystemClock::shared();
    let within = std::time::Duration::from_mins(2);
    // People know of the second.
    let mut over = incident("messages", false);
    over.note_told(Way::Webhook);
    over.note_told(Way::Mail);
    over.resolved_at = incident("messages", true).resolved_at;
    let mut incidents = [incident("contacts", false), over];
    // Nobody listens there.
    let broken = of("http://127.0.0.1:1/hook");
    for _ in 0..2 {
        let problems = broken.tell(&mut incidents, None, &clock, within).await;
        assert!(problems[0].starts_with("the webhook: "), "{problems:?}");
        assert_eq!(mails.lock().unwrap().len(), 2, "{:?}", mails.lock().unwrap());
    }
    assert!(
        incidents
            .iter()
            .all(|one| one.is_due(Way::Webhook) && !one.is_due(Way::Mail))
    );
    // It is over before the webhook was told of it.
    incidents[0].resolved_at = incidents[1].resolved_at;
    let problems = of(&url).tell(&mut incidents, None, &clock, within).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((hook.posted().len(), mails.lock().unwrap().len()), (1, 3));
    assert!(
        !incidents
            .iter()
            .any(|one| one.is_due(Way::Webhook) || one.is_due(Way::Mail))
    );
}

/// A mail server that accepts a connection and says nothing does not end all telling.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_says_nothing_is_not_waited_for_without_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = silent.local_addr().unwrap();
    let settings =
        format!("[alerts.mail]\nserver = \"smtp://{server}\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n");
    let clock = allai_sync::clock::SystemClock::shared();
    let mut incidents = [incident("contacts", false)];
    let telling = Notifier::new(&alerts(&settings)).unwrap();
    let problems = telling
        .tell(&mut incidents, None, &clock, std::time::Duration::from_mins(2))
        .await;
    assert_eq!(problems, ["the mail server: no answer within 20 s"]);
    assert!(incidents[0].is_due(Way::Mail));
}

/// Many things at once are one message to people, and each its own to programs.
#[tokio::test(flavor = "multi_thread")]
async fn many_things_are_one_message() {
    let clock = allai_sync::clock::SystemClock::shared();
    let within = std::time::Duration::from_mins(2);
    for (format, messages) in [("slack", 1), ("json", 4)] {
        let hook = Hook::default();
        let url = hook.listen().await;
        let notifier = Notifier::new(&alerts(&format!(
            "[alerts.webhook]\nurl = \"{url}\"\nformat = \"{format}\"\n"
        )));
        let mut incidents =
            ["contacts", "conversations", "messages", "analytics"].map(|resource| incident(resource, false));
        let problems = notifier.unwrap().tell(&mut incidents, None, &clock, within).await;
        assert!(problems.is_empty(), "{problems:?}");
        let posted = hook.posted();
        assert_eq!(posted.len(), messages, "{posted:?}");
        if format == "slack" {
            let text = posted[0]["text"].as_str().unwrap();
            assert!(text.starts_with("allai-sync: 4 things need attention:\n- "), "{text}");
            assert!(
                incidents.iter().all(|incident| text.contains(&incident.summary)),
                "{text}"
            );
        }
    }
}
