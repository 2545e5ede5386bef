//! Contacts kept the same in a CRM.

mod behaviour;
mod convergence;
mod crm;
mod daemon;
mod killed;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use allai_sync::app::App;
use allai_sync::clock::SystemClock;
use allai_sync::config::{Config, LoadOptions};
use allai_sync::contacts::{ContactSync, Options as RunOptions, Report, Status};
use allai_sync::sandbox::{ContactDraft, Options, Order};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crm::FakeCrm;

const MAPPING: &str = r#"
fields.name = "{{ contact.name }}"
fields.email = "{{ contact.email }}"
fields.phone = "{{ contact.phone | e164 }}"
fields.labels = "{{ contact.tags | join(';') }}"
fields.company = "{{ contact.custom_fields.company }}"
fields.note = "AllAI {{ contact.id }}"
back.name = "{{ record.name }}"
back.phone = "{{ record.phone }}"
back.tags = "{{ record.labels | default('', true) | split(';') }}"
back."custom_fields.owner" = "{{ record.owner }}"
back."custom_fields.stage" = "{{ record.stage }}"
"#;

/// An account, its mirror and a CRM.
struct Office {
    mirror: Mirror,
    crm: Arc<FakeCrm>,
}

impl Office {
    /// An account without contacts, and an empty CRM. `more` is of the section.
    async fn open(database: Database, more: &str) -> Self {
        let mut options = Options::for_tests(0, 0);
        // What has changed is seen without reading everything.
        options.shape.order = Order::UpdatedDesc;
        let office = Self {
            mirror: Mirror::start(database, options).await,
            crm: FakeCrm::new(7),
        };
        office.configure(more);
        office.mirror.sync().await;
        office
    }

    fn configure(&self, more: &str) {
        let url = self.mirror.sandbox.base_url();
        let key = &self.mirror.sandbox.keys().full;
        // The CRM is the one of this process, whatever the configuration says of it.
        self.mirror.configure(&format!(
            "[accounts.{ACCOUNT}]\nbase_url = \"{url}\"\napi_key = \"{key}\"\npage_size = 100\n\
             [connectors.crm]\nkind = \"tryton\"\nurl = \"http://127.0.0.1:9\"\ndatabase = \"x\"\nusername = \"u\"\n\
             password = \"p\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[contact_sync.sales]\nconnector = \"crm\"\n{more}{MAPPING}"
        ));
    }

    fn config(&self) -> Config {
        let options = LoadOptions {
            path: Some(self.mirror.config_path()),
            search: Vec::new(),
            env: BTreeMap::new(),
        };
        Config::load(&options).unwrap_or_else(|error| panic!("{error}")).config
    }

    async fn run_with(&self, options: RunOptions) -> Report {
        let config = self.config();
        let app = App::open(&config, SystemClock::shared()).await.unwrap();
        let account = Arc::new(app.accounts[0].clone());
        let connector = Arc::clone(&self.crm);
        let section = &config.contact_sync["sales"];
        let sync = ContactSync::new("sales", section, account, connector, &app.warehouse, &app.clock).unwrap();
        let report = sync.run(options, &CancellationToken::new()).await;
        app.warehouse.close().await;
        report
    }

    /// Mirrors what has changed, and syncs.
    async fn sync(&self) -> Report {
        self.mirror.sync().await;
        self.run_with(RunOptions::default()).await
    }

    /// The same; all must be well.
    #[track_caller]
    fn synced(&self) -> impl Future<Output = Report> {
        let place = std::panic::Location::caller();
        async move {
            let report = self.sync().await;
            assert_eq!(
                (report.status, report.held, report.conflicts),
                (Status::Complete, 0, 0),
                "at {place}: {report:?}"
            );
            report
        }
    }

    /// Dies before it is done, if `run` is polled so often, or the CRM says so.
    async fn run_and_die(&self, polls: u64) -> Option<Report> {
        let report = {
            let mut run = pin!(dying(self.run_with(RunOptions::default()), polls));
            tokio::select! {
                report = &mut run => report,
                () = self.crm.killed() => None,
            }
        };
        if report.is_none() {
            // What was on its way to AllAI arrives; a person who changes the contact in that instant would lose, since the API
            // knows no condition.
            SystemClock::shared().sleep(Duration::from_millis(250)).await;
            // A process that is dead is seen to be; this one lives on.
            let free = "UPDATE crm_syncs SET holder = NULL, expires_at = NULL";
            self.mirror.database.execute(free).await;
        }
        report
    }

    /// Somebody talks to the chatbot.
    fn contact(&self, name: &str, email: Option<&str>, phone: Option<&str>) -> String {
        self.mirror.sandbox.account().insert_contact(ContactDraft {
            name: Some(name.to_owned()),
            email: email.map(str::to_owned),
            phone: phone.map(str::to_owned),
            tags: Some(vec!["lead".to_owned()]),
            custom_fields: Some(json!({ "company": format!("{name} SRL") })),
        })
    }

    fn rename(&self, id: &str, name: &str) {
        let draft = ContactDraft {
            name: Some(name.to_owned()),
            ..ContactDraft::default()
        };
        assert!(self.mirror.sandbox.account().update_contact(id, draft));
    }

    /// All contacts of the account, by id.
    fn contacts(&self) -> BTreeMap<String, Value> {
        let rows = self.mirror.sandbox.account().snapshot().contacts;
        rows.iter()
            .map(|row| (row.id().unwrap(), row.value().unwrap()))
            .collect()
    }

    /// What was written to the CRM and to AllAI so far.
    fn writes(&self) -> (u64, u64) {
        let stats = self.mirror.sandbox.stats();
        let puts = stats.by_path.iter().filter(|((path, _), _)| path.starts_with("PUT"));
        (self.crm.counts().1, puts.map(|(_, count)| count).sum())
    }
}

/// `None` if it is not done after so many polls; then it is dropped where it is.
async fn dying<T>(work: impl Future<Output = T>, mut polls: u64) -> Option<T> {
    let mut work = Box::pin(work);
    std::future::poll_fn(move |context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}
