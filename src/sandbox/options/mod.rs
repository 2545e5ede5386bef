//! Every switch of the sandbox, with its default.

mod limits;
mod shape;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, Parser, ValueEnum};
use secrecy::SecretString;
use url::Url;

use super::account::OddKind;
pub use limits::{LimitOptions, RateHeaders, ResetFormat, RetryAfter, WindowKind};
pub use shape::{Envelope, MessageOrder, ObjectEnvelope, Order, ShapeOptions, TimeFormat, Totals};

use super::units::{parse_duration, parse_share, parse_signed_duration};

// No argument groups: their names would be those of the structs, and `Options` is a name other commands use too.
/// The switches of the sandbox. [`Options::default`] is what the command line gives without any: a well-behaved
/// server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8790)))]
    pub listen: SocketAddr,
    /// Seed of everything random: the same seed and the same requests give the same account and the same faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The account's size and oddities.
    #[command(flatten)]
    pub account: AccountOptions,
    /// The rate limit.
    #[command(flatten)]
    pub limits: LimitOptions,
    /// The form of responses, where the guide is silent.
    #[command(flatten)]
    pub shape: ShapeOptions,
    /// What goes wrong.
    #[command(flatten)]
    pub faults: FaultOptions,
    /// What changes between requests.
    #[command(flatten)]
    pub churn: ChurnOptions,
    /// How webhooks are delivered.
    #[command(flatten)]
    pub webhooks: WebhookOptions,
}

/// The account's size and oddities.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Account")]
pub struct AccountOptions {
    /// How many contacts the account starts with.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub contacts: usize,
    /// How many conversations the account starts with.
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub conversations: usize,
    /// How many messages every conversation has; without it, 3 to 20 as the dialogue goes.
    #[arg(long, value_name = "N")]
    pub messages_per_conversation: Option<usize>,
    /// How far back the account's history goes.
    #[arg(long, value_name = "DURATION", default_value = "180d", value_parser = parse_duration)]
    pub history: Duration,
    /// Share of rows that are odd: members missing, null, of another type or unknown, NUL characters, huge numbers…
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub odd_rows: f64,
    /// Which oddities (comma-separated); all of them if not given.
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_enum)]
    pub odd_kinds: Vec<OddKind>,
    /// A new message does not change its conversation's `updated_at`.
    #[arg(long)]
    pub quiet_messages: bool,
}

/// What goes wrong. Of errors, resets, cut bodies, invalid bodies and stalls, at most one happens to a request.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Faults")]
pub struct FaultOptions {
    /// How long every answer takes at least.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_duration)]
    pub latency: Duration,
    /// How much longer an answer may take, at random.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_duration)]
    pub jitter: Duration,
    /// Share of requests answered with a 5xx.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub error_rate: f64,
    /// Share of requests whose connection is closed before the answer.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub reset_rate: f64,
    /// Share of requests whose connection is closed in the middle of the answer's body.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub truncate_rate: f64,
    /// Share of requests answered 200 with HTML, half a JSON document or nothing.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub invalid_body_rate: f64,
    /// Share of requests that are never answered, or whose answer stops half-way.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub stall_rate: f64,
    /// Share of lists that are shorter than asked for, though more rows follow.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub short_page_rate: f64,
    /// Share of lists in which one row comes twice in a row.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub repeat_row_rate: f64,
    /// Share of lists that come back empty, with a total of 0, whatever the account holds.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub empty_list_rate: f64,
    /// Share of requests for messages that are answered 404, although the conversation exists.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub lost_messages_rate: f64,
    /// How far the server's clock is ahead (behind: negative).
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_signed_duration, allow_hyphen_values = true)]
    pub clock_skew: TimeDelta,
    /// No `Date` header is sent.
    #[arg(long)]
    pub no_date: bool,
}

/// What changes between requests.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Churn")]
pub struct ChurnOptions {
    /// How many random changes happen after every request.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub churn: usize,
    /// Which changes (comma-separated).
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        value_enum,
        default_values_t = [ChurnKind::Insert, ChurnKind::Delete, ChurnKind::Update, ChurnKind::Touch]
    )]
    pub churn_kinds: Vec<ChurnKind>,
    /// What is changed (comma-separated).
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        value_enum,
        default_values_t = [ChurnOf::Contacts, ChurnOf::Conversations, ChurnOf::Messages]
    )]
    pub churn_of: Vec<ChurnOf>,
    /// Where in the list the changed rows are.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = ChurnWhere::Anywhere)]
    pub churn_where: ChurnWhere,
}

/// A kind of change.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChurnKind {
    /// A new row, created now.
    Insert,
    /// A new row that says it was created in the past, as an import brings them.
    Import,
    /// A row disappears.
    Delete,
    /// A row's content and `updated_at` change; conversations are answered, closed, rated.
    Update,
    /// A row's `updated_at` changes alone.
    Touch,
    /// A row's content changes and its `updated_at` does not.
    Silent,
}

/// What is changed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChurnOf {
    /// Contacts.
    Contacts,
    /// Conversations.
    Conversations,
    /// Messages.
    Messages,
}

/// Where in the list the changed rows are.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChurnWhere {
    /// Among the first tenth.
    Head,
    /// Among the last tenth.
    Tail,
    /// Anywhere.
    Anywhere,
}

/// How webhooks are delivered.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookOptions {
    /// Deliver every event to this URL from the start, besides the webhooks registered through the API.
    #[arg(
        id = "webhook_url",
        long = "webhook-url",
        value_name = "URL",
        requires = "webhook_secret"
    )]
    pub url: Option<Url>,
    /// The secret of `--webhook-url`.
    #[arg(
        id = "webhook_secret",
        long = "webhook-secret",
        value_name = "SECRET",
        requires = "webhook_url"
    )]
    pub secret: Option<SecretString>,
    /// What every wait of a delivery (30 s for the answer, 1, 2 and 4 s before a retry) is multiplied by.
    #[arg(
        id = "webhook_time_scale",
        long = "webhook-time-scale",
        value_name = "FACTOR",
        default_value_t = 1.0
    )]
    pub time_scale: f64,
    /// Share of events that are delivered twice.
    #[arg(id = "webhook_duplicate_rate", long = "webhook-duplicate-rate", value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub duplicate_rate: f64,
    /// The form of a delivery.
    #[arg(id = "webhook_form", long = "webhook-form", value_name = "FORM", value_enum, default_value_t = WebhookForm::Plain)]
    pub form: WebhookForm,
    /// What there is beside `POST /webhooks`, of which alone the guide tells (comma-separated).
    #[arg(
        id = "webhook_endpoints",
        long = "webhook-endpoints",
        value_name = "ENDPOINT",
        value_delimiter = ',',
        value_enum,
        default_values_t = [
            WebhookEndpoint::List,
            WebhookEndpoint::Patch,
            WebhookEndpoint::Put,
            WebhookEndpoint::Delete,
        ]
    )]
    pub endpoints: Vec<WebhookEndpoint>,
    /// What becomes of a URL that is registered again.
    #[arg(id = "webhook_again", long = "webhook-again", value_name = "HOW", value_enum, default_value_t = WebhookAgain::Another)]
    pub again: WebhookAgain,
}

/// What becomes of a URL that is registered again.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookAgain {
    /// There are two webhooks for it.
    Another,
    /// It is refused, with 409.
    Refused,
    /// The one that is there is changed.
    Changed,
}

/// An endpoint of webhooks that the guide does not name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEndpoint {
    /// `GET /webhooks`.
    List,
    /// `PATCH /webhooks/{id}`.
    Patch,
    /// `PUT /webhooks/{id}`.
    Put,
    /// `DELETE /webhooks/{id}`.
    Delete,
    /// None of them.
    None,
}

/// The form of a delivery.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookForm {
    /// `{"id", "event", "timestamp", "data"}`, signature in hex.
    Plain,
    /// `{"type", "created_at", "payload"}` without an id, signature prefixed `sha256=`.
    Other,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
}

impl Default for Options {
    fn default() -> Self {
        let bare = CommandLine::try_parse_from(["sandbox"]);
        bare.unwrap_or_else(|error| panic!("the sandbox's defaults do not parse: {error}"))
            .options
    }
}

impl Options {
    /// Options for a test: a free port on loopback, a small account, no rate limit.
    pub fn for_tests(contacts: usize, conversations: usize) -> Self {
        let mut options = Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Self::default()
        };
        options.account.contacts = contacts;
        options.account.conversations = conversations;
        options.limits.limit = 0;
        options
    }

    /// The order of contacts.
    pub fn contacts_order(&self) -> Order {
        self.shape.contacts_order.unwrap_or(self.shape.order)
    }

    /// The order of conversations.
    pub fn conversations_order(&self) -> Order {
        self.shape.conversations_order.unwrap_or(self.shape.order)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_has_defaults() {
        CommandLine::command().debug_assert();
        let options = Options::default();
        assert_eq!(options.limits.window, Duration::from_mins(1));
        assert_eq!(options.churn.churn_kinds.len(), 4);
        assert!(options.account.odd_kinds.is_empty());
    }

    #[test]
    fn every_kind_of_value_is_understood() {
        let line = "sandbox --clock-skew -90s --latency 250ms --window-kind first-request --reset-format epoch-ms \
                    --churn 3 --churn-kinds delete,touch --odd-rows 0.2 --odd-kinds no-id,nul --envelope nested";
        let options = CommandLine::try_parse_from(line.split_whitespace()).unwrap().options;
        assert_eq!(options.faults.clock_skew, TimeDelta::seconds(-90));
        assert_eq!(options.faults.latency, Duration::from_millis(250));
        assert_eq!(options.churn.churn_kinds, [ChurnKind::Delete, ChurnKind::Touch]);
        assert_eq!(options.account.odd_kinds, [OddKind::NoId, OddKind::Nul]);
    }
}
