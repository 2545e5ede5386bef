//! The configuration as a user meets it: through the binary.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Stands for a secret in every test; no output may hold it.
const SECRET: &str = "hunter2-do-not-show";

/// A folder with a configuration, and the binary run in it with an environment of its own.
struct Setup {
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Setup {
    fn empty() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            env: Vec::new(),
        }
    }

    fn with(config: &str) -> Self {
        let setup = Self::empty();
        setup.write("config.toml", config, 0o600);
        setup
    }

    fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().unwrap();
        let run = Run::from(output);
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains(SECRET), "a secret was shown: {text}");
        }
        run
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_allai-sync"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The errors that `config show` reports, one a line, which must end it with 2.
    fn errors(&self) -> String {
        let run = self.run(&["config", "show"]);
        assert_eq!(run.code, 2, "{}{}", run.stdout, run.stderr);
        assert_eq!(run.stdout, "");
        run.stderr
    }

    fn show(&self) -> String {
        let run = self.run(&["config", "show"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    }
}

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// `text` has a line that holds all of `parts`.
#[track_caller]
fn assert_line(text: &str, parts: &[&str]) {
    let found = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line with {parts:?} in:\n{text}");
}

fn account(lines: &str) -> String {
    format!("[accounts.main]\napi_key = \"{SECRET}\"\n{lines}\n")
}

#[test]
fn all_errors_are_reported_at_once_with_place_key_and_remedy() {
    let setup = Setup::with(&format!(
        "\
[warehouse]
url = \"mysql://me:{SECRET}@db/x\"
shema = \"allai\"

[accounts.main]
api_kye = \"{SECRET}\"
base_url = \"http://example.com/v2\"
page_size = 5000
timeout = 30
reserve = 0.95
plan = \"{SECRET}\"
[accounts.main.contacts]
fields = [\"name\"]
[accounts.main.analytics]
periods = [\"month\"]
[accounts.\"Main Shop\"]
api_key = 12345678
[accounts.other]
api_key = \"{SECRET} \"

[jobs.contacts]
schedule = \"0 0 0 30 2 *\"
timezone = \"Mars\"
[jobs.messages]
schedule = \"0 0 0 1 * Mon\"
[webhooks]
listen = \"127.0.0.1:8781\"
[admin]
listen = \"127.0.0.1:8781\"
[connectors.erp]
url = \"x\"
[connectors.crm]
kind = \"hubspt\"
"
    ))
    .env("ALLAI_SYNC__ACCOUNTS__MAIN__ENABLED", SECRET);
    insta::assert_snapshot!(setup.errors());
}

#[test]
fn each_kind_of_error_is_found() {
    let cases = [
        ("warehouse = 3", "warehouse: expected a table, found a whole number"),
        ("[warehouse]\nmigrate = 1", "expected true or false"),
        ("[warehouse]\nurl = \"sqlite:\"", "names no file"),
        ("[warehouse]\nurl = \"postgres:db\"", "not a URL that can be read"),
        (
            "[warehouse]\nurl = \"postgres://db/x\"\nschema = \"Allai\"",
            "not a schema name",
        ),
        (
            "[warehouse]\nurl = \"postgres://db/x\"\nschema = \"pg_x\"",
            "a schema of PostgreSQL itself",
        ),
        ("[warehouse]\nurl = \"sqlite:x\"\nurl_file = \"x\"", "are both given"),
        ("[warehouse]\nurl_file = \"absent\"", "cannot use the secret file"),
        ("[admin]\nlisten = \"0.0.0.0:1\"", "admin.token: missing"),
        (
            "[admin]\nlisten = 8781",
            "such as \"127.0.0.1:8780\" or \"[::]:8780\", found a whole number",
        ),
        ("[admin]\nlisten = \"8781\"", "expected an IP address and a port"),
        ("[admin]\ntoken = \"\"", "admin.token: empty"),
        (
            "[connectors.\"a b\"]\nkind = \"odoo\"\nurl = \"https://erp.example.com\"\napi_key = \"x\"",
            "not a name for a connector",
        ),
        (
            "[connectors.x]\nkind = \"odoo\"\nurl = \"https://erp.example.com\"",
            "connectors.x.username: it is missing",
        ),
        ("[connectors.x]\nkind = 2", "expected a string"),
        (
            "[[warehouse]]",
            "warehouse: expected a table, found an array; write the header as [warehouse]",
        ),
        (
            "warehouse = [\"sqlite:x\"]",
            "warehouse: expected a table, found an array",
        ),
        ("automations = [1]", "automations.0: expected a table"),
        ("nonsense = 1", "unknown key; known keys here: warehouse, accounts"),
        ("[jobs.contact]", "did you mean `contacts`?"),
        ("[jobs.contacts]\nschedule = \"x\"", "expected a cron expression"),
    ];
    for (config, expected) in cases {
        let errors = Setup::with(&format!("{config}\n{}", account(""))).errors();
        assert_line(&errors, &["config.toml:", expected]);
        assert!(
            errors.starts_with("error: the configuration has an error:"),
            "{config}: {errors}"
        );
    }
}

#[test]
fn each_kind_of_error_in_an_account_is_found() {
    let cases = [
        (
            "timeout = 30",
            "expected a duration with its unit, such as \"30s\", found a whole number",
        ),
        (
            "api_key_file = 3",
            "expected a string, found a whole number; put the value in quotes",
        ),
        ("plan = 2", "accounts.main.plan: expected a string"),
        ("plan = \"enterprize\"", "did you mean \"enterprise\"?"),
        ("page_size = 0", "not between 1 and 1000"),
        ("page_size = -1", "out of range"),
        ("page_size = \"10\"", "write the value without quotes"),
        ("reserve = nan", "not between 0 and 0.9"),
        ("timeout = \"0s\"", "not between 1s and 10m"),
        ("timeout = \"fast\"", "expected a duration with its unit"),
        ("base_url = \"ftp://x\"", "neither https nor http"),
        ("base_url = \"here\"", "expected a URL such as"),
        ("base_url = \"https://me:pw@x\"", "has no user"),
        (
            "contacts.fields = [\"id\", 3]",
            "accounts.main.contacts.fields.1: expected a string, found",
        ),
        ("contacts.fields = [\"id\", \"a b\"]", "not a member's name"),
        ("analytics.periods = [\"7d\", \"7d\"]", "names a period twice"),
        ("webhook = {}", "accounts.main.webhook.secret: missing"),
        (
            r#"webhook = { secret = " \t  " }"#,
            "accounts.main.webhook.secret: blank",
        ),
        (
            r#"webhook = { secret = "0123456789abcdef", previous_secret = "\u0000 " }"#,
            "accounts.main.webhook.previous_secret: empty or blank",
        ),
        ("enabled = 1979-05-27", "expected true or false"),
    ];
    for (lines, expected) in cases {
        let errors = Setup::with(&account(lines)).errors();
        assert_line(&errors, &["config.toml:3:", expected]);
        assert!(
            errors.starts_with("error: the configuration has an error:"),
            "{lines}: {errors}"
        );
    }
}

#[test]
fn a_syntax_error_shows_where_and_hides_what() {
    let errors = Setup::with(&format!("[accounts.main]\napi_key = {SECRET}\n")).errors();
    assert_line(&errors, &["config.toml:2:11: not valid TOML"]);
    assert_line(&errors, &["2 | api_key = …"]);
    let errors = Setup::with(&format!("{}\napi_key = \"{SECRET}\"", account(""))).errors();
    assert_line(&errors, &["config.toml:5:1: not valid TOML: duplicate key `api_key`"]);
}

#[test]
fn without_a_configuration_the_user_learns_how_to_write_one() {
    let errors = Setup::empty().errors();
    assert_line(
        &errors,
        &[
            "no configuration file found",
            "accounts",
            "allai-sync config example > config.toml",
        ],
    );
    let run = Setup::empty().run(&["-c", "absent.toml", "config", "show"]);
    assert_eq!(run.code, 2);
    assert_line(&run.stderr, &["absent.toml: cannot be read", "config example"]);
}

#[test]
fn the_environment_alone_is_enough_and_digits_stay_a_string() {
    let setup = Setup::empty()
        .env("ALLAI_SYNC__ACCOUNTS__MAIN__API_KEY", "12345678901234567890")
        .env("ALLAI_SYNC__ACCOUNTS__MAIN__PAGE_SIZE", "50")
        .env("ALLAI_SYNC__WAREHOUSE__URL", format!("postgres://me:{SECRET}@db/x"));
    let shown = setup.show();
    assert_line(
        &shown,
        &["page_size = 50", "# env ALLAI_SYNC__ACCOUNTS__MAIN__PAGE_SIZE"],
    );
    assert_line(&shown, &["url = \"postgres://me:[redacted]@db/x\""]);
    assert_line(&shown, &["api_key = \"[redacted]\""]);
    assert!(!shown.contains("1234567890"));
}

#[test]
fn the_environment_overrides_the_file_and_its_errors_name_the_variable() {
    let setup = Setup::with(&account("page_size = 10")).env("ALLAI_SYNC__ACCOUNTS__MAIN__PAGE_SIZE", "20");
    assert_line(
        &setup.show(),
        &["page_size = 20", "# env ALLAI_SYNC__ACCOUNTS__MAIN__PAGE_SIZE"],
    );
    let setup = Setup::with(&account(""))
        .env("ALLAI_SYNC__ACCOUNTS__MAIN__PAGE_SIZE", "many")
        .env("ALLAI_SYNC__ACCOUNTS__MAIN__API_KYE", SECRET)
        .env("ALLAI_SYNC__WAREHOUSE__URL__HOST", "x")
        .env("ALLAI_SYNC__ADMIN", "[\"127.0.0.1:1\"]")
        .env("ALLAI_SYNC__WEBHOOKS", "x")
        .env("ALLAI_SYNC__WEBHOOKS__LISTEN", "127.0.0.1:1")
        .env("ALLAI_SYNC____", "x");
    let errors = setup.errors();
    assert_line(
        &errors,
        &[
            "environment variable ALLAI_SYNC__ACCOUNTS__MAIN__PAGE_SIZE: ",
            "a whole number",
        ],
    );
    assert_line(
        &errors,
        &[
            "environment variable ALLAI_SYNC__ACCOUNTS__MAIN__API_KYE: ",
            "did you mean `api_key`?",
        ],
    );
    assert_line(&errors, &["environment variable ALLAI_SYNC__WAREHOUSE__URL__HOST: "]);
    assert_line(
        &errors,
        &["environment variable ALLAI_SYNC__ADMIN: admin: expected a table, found a string"],
    );
    assert_line(
        &errors,
        &["environment variable ALLAI_SYNC__WEBHOOKS__LISTEN: sets a key inside of one"],
    );
    assert_line(&errors, &["environment variable ALLAI_SYNC____: names no key"]);
}

#[test]
fn a_secret_file_is_looked_for_among_the_credentials_first_and_beside_the_configuration_then() {
    let setup = Setup::with("[accounts.main]\napi_key_file = \"key\"\n[admin]\ntoken_file = \"token\"\n");
    setup.write("token", &format!("{SECRET}\n"), 0o600);
    assert_line(
        &setup.errors(),
        &[
            "config.toml:2:1: accounts.main.api_key_file: cannot use the secret file",
            "key",
        ],
    );
    let key = setup.write("credentials/key", &format!("{SECRET}\r\n"), 0o600);
    let credentials = key.parent().unwrap().display().to_string();
    let setup = setup.env("CREDENTIALS_DIRECTORY", credentials);
    let shown = setup.show();
    assert_line(&shown, &["api_key_file = \"key\"", "# config.toml:2"]);
    assert_line(&shown, &["token_file = \"token\""]);
    setup.write("credentials/key", "\n", 0o600);
    assert_line(&setup.errors(), &["it is empty"]);
    setup.write("credentials/key", &format!("{SECRET} {SECRET}"), 0o600);
    assert_line(&setup.errors(), &["accounts.main.api_key", "holds a space"]);
}

#[test]
fn a_file_of_a_folder_that_is_a_credential_has_the_same_name_for_the_service_and_for_root() {
    let setup = Setup::with("[accounts.main]\napi_key_file = \"secrets/key\"\n");
    // As systemd names it for the service.
    let key = setup.write("loaded/secrets_key", SECRET, 0o600);
    let loaded = key.parent().unwrap().display().to_string();
    let setup = setup.env("CREDENTIALS_DIRECTORY", loaded);
    assert_line(&setup.show(), &["api_key_file = \"secrets/key\""]);
    // As root sees it, beside the configuration.
    let setup = Setup::with("[accounts.main]\napi_key_file = \"secrets/key\"\n");
    setup.write("secrets/key", SECRET, 0o600);
    assert_line(&setup.show(), &["api_key_file = \"secrets/key\""]);
}

#[test]
fn a_secret_given_where_its_file_belongs_is_not_shown() {
    let errors = Setup::with(&format!("[accounts.main]\napi_key_file = \"{SECRET}\"")).errors();
    assert_line(
        &errors,
        &["config.toml:2:1: accounts.main.api_key_file", "looks like a secret"],
    );
}

#[test]
fn a_connectors_secret_may_be_a_file_too() {
    let setup = Setup::with(&format!(
        "[connectors.erp]\nkind = \"odoo\"\nurl = \"https://erp.example.com\"\ndatabase = \"erp\"\nusername = \"sync\"\n\
         password_file = \"erp\"\n{}",
        account("")
    ));
    assert_line(
        &setup.errors(),
        &["connectors.erp.password_file: cannot use the secret file"],
    );
    setup.write("erp", SECRET, 0o600);
    let shown = setup.show();
    assert_line(&shown, &["password_file = \"erp\""]);
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_about() {
    let setup = Setup::with(&account(""));
    assert_eq!(setup.run(&["config", "show"]).stderr, "");
    setup.write("config.toml", &account(""), 0o644);
    assert_line(
        &setup.run(&["config", "show"]).stderr,
        &["WARN", "run `chmod o-rwx config.toml`"],
    );
    setup.write("config.toml", "[accounts.main]\napi_key_file = \"key\"\n", 0o644);
    setup.write("key", SECRET, 0o600);
    assert_eq!(
        setup.run(&["config", "show"]).stderr,
        "",
        "the file names a secret and holds none"
    );
    setup.write("key", SECRET, 0o644);
    assert_line(
        &setup.run(&["config", "show", "--log-format", "journald"]).stderr,
        &["<4>key holds a secret"],
    );
    let json = setup.run(&["--log-format", "json", "config", "show"]).stderr;
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
    assert_eq!(setup.run(&["-qq", "config", "show"]).stderr, "");
}

#[test]
fn what_is_unwise_of_webhooks_is_warned_about() {
    let warnings = |webhook: &str, public_url: &str| {
        let setup = Setup::with(&format!(
            "{}\n[accounts.main.webhook]\n{webhook}\n[webhooks]\npublic_url = \"{public_url}\"\n",
            account("")
        ));
        let run = setup.run(&["config", "show"]);
        assert!(run.stdout.contains("[accounts.main.webhook]"), "{}", run.stdout);
        run.stderr
    };
    let wise = "secret = \"0123456789abcdef\"\nevents = [\"lead.created\", \"message.sent\"]";
    for url in [
        "https://hooks.example.ro",
        "http://localhost:1",
        "http://127.0.0.1",
        "http://[::1]:8780",
    ] {
        assert_eq!(warnings(wise, url), "", "{url}");
    }
    let found = warnings(wise, "http://hooks.example.ro");
    assert_line(
        &found,
        &["WARN", "webhooks.public_url is http://", "TLS", "write https://"],
    );

    let short = "secret = \"hush-hush-hush-\"\nprevious_secret = \"hush\"";
    let found = warnings(short, "https://hooks.example.ro");
    assert_line(
        &found,
        &[
            "accounts.main.webhook.secret is shorter than 16 bytes",
            "openssl rand -hex 32",
        ],
    );
    assert_line(
        &found,
        &[
            "accounts.main.webhook.previous_secret is shorter than 16 bytes",
            "remove it",
        ],
    );
    assert_eq!((found.lines().count(), found.contains("hush")), (2, false), "{found}");

    let misspelt = "secret = \"0123456789abcdef\"\nevents = [\"message.recieved\", \"Lead-created.\", \"order.paid\"]";
    let found = warnings(misspelt, "https://hooks.example.ro");
    assert_line(
        &found,
        &[
            "accounts.main.webhook.events",
            "\"message.recieved\"",
            "did you mean \"message.received\"?",
        ],
    );
    assert_line(&found, &["\"Lead-created.\"", "did you mean \"lead.created\"?"]);
    assert_line(
        &found,
        &["\"order.paid\"", "it has conversation.started, conversation.ended, "],
    );
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn what_show_prints_is_a_configuration_that_shows_the_same() {
    let setup = Setup::with(&format!(
        "{}\n[accounts.main.webhook]\nsecret = \"{SECRET}\"\n[connectors.erp]\nkind = \"odoo\"\n\
         url = \"https://erp.example.com\"\ndatabase = \"erp\"\nusername = \"sync\"\npassword = \"{SECRET}\"\ncompany = 2\n\
         [[automations]]\nname = \"greet\"\non = [\"conversation.started\"]\n\
         [[automations.steps]]\ndo = \"reply\"\ntext = \"Bun venit!\"\n",
        account("contacts.fields = [\"id\", \"name\"]")
    ));
    let first = setup.show();
    insta::assert_snapshot!(first);
    setup.write("config.toml", &first, 0o600);
    let without_comments = |text: &str| -> Vec<String> {
        let code = |line: &str| line.split("  # ").next().unwrap_or_default().to_owned();
        text.lines().map(code).collect()
    };
    assert_eq!(without_comments(&setup.show()), without_comments(&first));
}

#[test]
fn the_example_loads_and_the_contract_of_the_readme_holds() {
    let example = Setup::empty().run(&["config", "example"]).stdout;
    let setup = Setup::with(&example);
    assert_line(&setup.show(), &["page_size = 100", "# config.toml:"]);
    let contract = format!(
        r#"
[warehouse]
url = "sqlite://warehouse.db"
schema = "allai"
[accounts.main]
environment = "production"
base_url = "https://api.allai.ro/v2"
api_key = "…"
plan = "auto"
reserve = 0.0
page_size = 100
timeout = "30s"
[jobs.contacts]
schedule = "0 */15 * * * *"
timezone = "Europe/Bucharest"
full_schedule = "0 30 2 * * *"
[webhooks]
listen = "127.0.0.1:8780"
[accounts.main.webhook]
secret = "{SECRET}"
[admin]
listen = "127.0.0.1:8781"
token = "…"
[connectors.NAME]
kind = "tryton"
url = "http://127.0.0.1:8000"
database = "erp"
username = "…"
password = "{SECRET}"
[[automations]]
"#
    );
    Setup::with(&contract).show();
}

#[test]
fn the_schema_describes_every_section() {
    let run = Setup::empty().run(&["config", "schema"]);
    assert_eq!(run.code, 0);
    let schema: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    for section in [
        "warehouse",
        "accounts",
        "jobs",
        "webhooks",
        "admin",
        "connectors",
        "automations",
    ] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    let setup = Setup::empty();
    assert_eq!(setup.run(&["nonsense"]).code, 2);
    assert_eq!(setup.run(&["config", "show", "--log-format", "xml"]).code, 2);
    assert_eq!(setup.run(&["-q", "-v", "config", "example"]).code, 2);
    assert_eq!(setup.run(&["--help"]).code, 0);
    let version = setup.run(&["--version"]);
    assert_eq!(version.stdout, format!("allai-sync {}\n", env!("CARGO_PKG_VERSION")));
    let run = Setup::empty().env("RUST_LOG", "=,=x").run(&["config", "example"]);
    assert_eq!(run.code, 2);
    assert_line(&run.stderr, &["RUST_LOG is not a log filter"]);
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let run = Setup::empty().run(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(
            run.stdout.contains("allai-sync") && run.stdout.contains("log-format"),
            "{shell}"
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Setup::empty()
        .command(&["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(Path::new("/"))
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}
