//! Secrets: given in the configuration or, better, as files.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::issue::Report;
use super::{Config, DatabaseUrl, KeyPath};

/// What stands in for a secret wherever one is shown.
pub(super) const REDACTED: &str = "[redacted]";

/// More than any key or password; keeps a wrong path such as `/dev/zero` from filling the memory.
const LONGEST: u64 = 64 * 1024;

/// A secret. `Debug` and `Serialize` show `[redacted]`.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true, "minLength": 1 })
    }
}

/// A setting that can be given as `x` or as `x_file`.
enum Slot<'c> {
    Secret(&'c mut Option<Secret>),
    Url(&'c mut Option<DatabaseUrl>),
}

impl Slot<'_> {
    fn is_set(&self) -> bool {
        match self {
            Self::Secret(secret) => secret.is_some(),
            Self::Url(url) => url.is_some(),
        }
    }

    fn fill(self, text: String) {
        match self {
            Self::Secret(secret) => *secret = Some(text.into()),
            Self::Url(url) => *url = Some(text.into()),
        }
    }
}

/// Every secret of the configuration: the key, where its value goes, and the file it may come from.
fn slots(config: &mut Config) -> Vec<(KeyPath, Slot<'_>, Option<PathBuf>)> {
    let root = KeyPath::root();
    let warehouse = &mut config.warehouse;
    let mut slots = vec![(
        root.join("warehouse").join("url"),
        Slot::Url(&mut warehouse.url),
        warehouse.url_file.clone(),
    )];
    let admin = &mut config.admin;
    slots.push((
        root.join("admin").join("token"),
        Slot::Secret(&mut admin.token),
        admin.token_file.clone(),
    ));
    let alerts = root.join("alerts");
    if let Some(webhook) = &mut config.alerts.webhook {
        slots.push((
            alerts.join("webhook").join("url"),
            Slot::Secret(&mut webhook.url),
            webhook.url_file.clone(),
        ));
    }
    if let Some(mail) = &mut config.mail {
        slots.push((
            root.join("mail").join("server"),
            Slot::Secret(&mut mail.server),
            mail.server_file.clone(),
        ));
    }
    if let Some(mail) = &mut config.alerts.mail {
        slots.push((
            alerts.join("mail").join("server"),
            Slot::Secret(&mut mail.server),
            mail.server_file.clone(),
        ));
    }
    if let Some(nats) = config.webhooks.as_mut().and_then(|webhooks| webhooks.nats.as_mut()) {
        slots.push((
            root.join("webhooks").join("nats").join("url"),
            Slot::Secret(&mut nats.url),
            nats.url_file.clone(),
        ));
    }
    for (name, account) in &mut config.accounts {
        let at = root.join("accounts").join(name);
        slots.push((
            at.join("api_key"),
            Slot::Secret(&mut account.api_key),
            account.api_key_file.clone(),
        ));
        if let Some(webhook) = &mut account.webhook {
            slots.push((
                at.join("webhook").join("secret"),
                Slot::Secret(&mut webhook.secret),
                webhook.secret_file.clone(),
            ));
            slots.push((
                at.join("webhook").join("previous_secret"),
                Slot::Secret(&mut webhook.previous_secret),
                webhook.previous_secret_file.clone(),
            ));
        }
    }
    slots
}

/// The keys of the secrets that the configuration itself holds.
pub(super) fn inline(config: &mut Config) -> Vec<KeyPath> {
    let mut keys: Vec<KeyPath> = slots(config)
        .into_iter()
        .filter(|(_, slot, _)| match slot {
            Slot::Secret(secret) => secret.is_some(),
            Slot::Url(url) => url.as_ref().is_some_and(DatabaseUrl::has_password),
        })
        .map(|(key, _, _)| key)
        .collect();
    for (name, connector) in &config.connectors {
        let at = KeyPath::new(["connectors", name]);
        keys.extend(connector.options.secret_keys(&at));
    }
    for (index, automation) in config.automations.iter().enumerate() {
        let at = KeyPath::new(["automations".to_owned(), index.to_string()]);
        for (number, step) in automation.steps.iter().enumerate() {
            keys.extend(step.secret_keys(&at.join("steps").join(number.to_string())));
        }
    }
    keys
}

/// Reads every secret that is given as a file into its place.
pub(super) fn read_files(config: &mut Config, files: &SecretFiles, report: &mut Report) {
    for (key, slot, file) in slots(config) {
        if let Some(file) = file
            && let Some(text) = files.read_for(&key, &file, slot.is_set(), report)
        {
            slot.fill(text);
        }
    }
    for (name, connector) in &mut config.connectors {
        let at = KeyPath::new(["connectors", name]);
        for (option, file) in connector.options.secret_files() {
            let set = connector.options.0.contains_key(&option);
            if let Some(text) = files.read_for(&at.join(&option), &file, set, report) {
                connector.options.0.insert(option, text.into());
            }
        }
    }
}

/// Where secret files are looked for.
pub(super) struct SecretFiles {
    credentials: Option<PathBuf>,
    config_folder: PathBuf,
}

impl SecretFiles {
    pub(super) fn new(credentials: Option<&String>, config: Option<&Path>) -> Self {
        Self {
            credentials: credentials.filter(|path| !path.is_empty()).map(PathBuf::from),
            config_folder: config.and_then(Path::parent).unwrap_or(Path::new("")).to_owned(),
        }
    }

    /// A relative path is one of systemd's credentials if there is one of that name, else beside the configuration file.
    /// Where a folder is loaded as a credential, a file `folder/file` is the credential `folder_file` (systemd.exec(5),
    /// `LoadCredential=`).
    fn locate(&self, file: &Path) -> PathBuf {
        if file.is_relative()
            && let Some(credentials) = &self.credentials
        {
            let flat = file.to_string_lossy().replace('/', "_");
            let found = [file, Path::new(&flat)]
                .map(|name| credentials.join(name))
                .into_iter()
                .find(|path| path.exists());
            if let Some(credential) = found {
                return credential;
            }
        }
        self.config_folder.join(file)
    }

    /// The secret in `file`, for the setting `key`.
    fn read_for(&self, key: &KeyPath, file: &Path, also_inline: bool, report: &mut Report) -> Option<String> {
        let file_key = key.parent().unwrap_or_default().join(format!("{}_file", key.last()));
        if also_inline {
            report.wrong(
                &file_key,
                format!("`{}` and `{}` are both given", key.last(), file_key.last()),
                "keep one of them",
            );
            return None;
        }
        let path = self.locate(file);
        match read(&path) {
            Ok(text) => {
                if is_world_readable(&path) {
                    report.warn(world_readable(&path));
                }
                Some(text)
            }
            Err(problem) => {
                let also = match &self.credentials {
                    Some(folder) if file.is_relative() => format!(" (or in {})", folder.display()),
                    _ => String::new(),
                };
                let shown = if looks_like_a_secret(file) && !path.exists() {
                    "(its name looks like a secret itself and is not shown)".to_owned()
                } else {
                    path.display().to_string()
                };
                report.wrong(
                    &file_key,
                    format!("cannot use the secret file {shown}{also}: {problem}"),
                    format!(
                        "put the secret there, readable by the user that runs allai-sync, or give `{}`",
                        key.last()
                    ),
                );
                // The missing secret itself is not a second problem.
                report.settle(key.clone());
                None
            }
        }
    }
}

/// Whether somebody may have given the secret where its file belongs.
fn looks_like_a_secret(file: &Path) -> bool {
    let name = file.to_string_lossy();
    file.is_relative() && name.len() >= 16 && !name.contains('.') && name.contains(|c: char| c.is_ascii_digit())
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err("it is too large to be a secret".into());
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("it is empty".into());
    }
    Ok(text.to_owned())
}

/// Checks a secret that is sent as a header, where a stray character would be refused much later and less clearly.
pub(super) fn validate_header(secret: &Secret, key: &KeyPath, report: &mut Report) {
    let text = secret.expose();
    let invisible =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    if text.is_empty() {
        report.wrong(key, "empty", format!("give the secret, or `{}_file`", key.last()));
    } else if text.chars().any(invisible) {
        report.wrong(
            key,
            "holds a space, a line break or an invisible character",
            "copy it again, without what surrounds it",
        );
    }
}

#[cfg(unix)]
pub(super) fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_world_readable(_: &Path) -> bool {
    false
}

pub(super) fn world_readable(path: &Path) -> String {
    let path = path.display();
    format!("{path} holds a secret and every user of this machine can read it; run `chmod o-rwx {path}`")
}
