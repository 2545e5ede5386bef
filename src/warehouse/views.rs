//! The views for reports, for the documentation. Their SQL is in `migrations/`.

/// Each view's name and what it tells, in one line.
pub const VIEWS: &[(&str, &str)] = &[
    (
        "freshness",
        "per account and resource: last complete and last verified sync, rows, the last run, rows in quarantine",
    ),
    (
        "mirror_health",
        "per account and resource: seconds since the last complete sync, when it was last proven and last compared with the API, completeness, verdict",
    ),
    (
        "conversations_per_day",
        "conversations, closed and resolved ones, by day and channel",
    ),
    (
        "resolution",
        "how conversations ended (by the bot, by a human, handed off, unresolved) and minutes to close, by day and channel",
    ),
    (
        "response_times",
        "per conversation: the visitor's first message, the first answer, by whom, and the seconds in between",
    ),
    ("leads", "contacts tagged `lead`, by their other tags and by source"),
    (
        "topics_over_time",
        "the topics of each captured overview, with count and rank",
    ),
    ("messages_per_day", "messages by day and role"),
    (
        "stock_levels_latest",
        "the last complete snapshot of each connector's stock, by SKU and warehouse",
    ),
    (
        "contacts_versions",
        "every version of every contact, with valid_from and valid_to",
    ),
    (
        "conversations_versions",
        "every version of every conversation, with valid_from and valid_to",
    ),
];
