-- The mirrored tables, their history, the reports, and the sync's own books.
--
-- Rows are never deleted by a sync: deleted_at is set, and cleared when the row is seen again. row_num (the row's
-- internal number) and missing_since (since when sweeps have not seen it) belong to the sync; ignore them in reports.
--
-- Timestamps are RFC 3339 text in UTC, as in 2026-01-19T10:30:00Z; days are 2026-01-19; JSON is text.

CREATE TABLE contacts (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    email TEXT,
    phone TEXT,
    tags TEXT,
    custom_fields TEXT,
    created_at TEXT,
    updated_at TEXT,
    extra TEXT,
    content_hash TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    deleted_at TEXT,
    row_num INTEGER NOT NULL,
    missing_since TEXT,
    PRIMARY KEY (account, id)
) STRICT;
CREATE UNIQUE INDEX contacts_by_row_num ON contacts (account, row_num);

CREATE TABLE contacts_history (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    email TEXT,
    phone TEXT,
    tags TEXT,
    custom_fields TEXT,
    created_at TEXT,
    updated_at TEXT,
    extra TEXT,
    content_hash TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    deleted_at TEXT,
    valid_from TEXT NOT NULL,
    valid_to TEXT NOT NULL,
    PRIMARY KEY (account, id, valid_from)
) STRICT;

CREATE TABLE conversations (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    chatbot_id TEXT,
    contact_id TEXT,
    visitor_name TEXT,
    visitor_email TEXT,
    visitor TEXT,
    channel TEXT,
    status TEXT,
    resolution TEXT,
    metadata TEXT,
    created_at TEXT,
    updated_at TEXT,
    closed_at TEXT,
    extra TEXT,
    content_hash TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    deleted_at TEXT,
    row_num INTEGER NOT NULL,
    missing_since TEXT,
    PRIMARY KEY (account, id)
) STRICT;
CREATE UNIQUE INDEX conversations_by_row_num ON conversations (account, row_num);
CREATE INDEX conversations_by_created_at ON conversations (account, created_at);
CREATE INDEX conversations_by_contact ON conversations (account, contact_id);
CREATE INDEX conversations_by_status ON conversations (account, status);

CREATE TABLE conversations_history (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    chatbot_id TEXT,
    contact_id TEXT,
    visitor_name TEXT,
    visitor_email TEXT,
    visitor TEXT,
    channel TEXT,
    status TEXT,
    resolution TEXT,
    metadata TEXT,
    created_at TEXT,
    updated_at TEXT,
    closed_at TEXT,
    extra TEXT,
    content_hash TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    deleted_at TEXT,
    valid_from TEXT NOT NULL,
    valid_to TEXT NOT NULL,
    PRIMARY KEY (account, id, valid_from)
) STRICT;

CREATE TABLE messages (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    role TEXT,
    type TEXT,
    content TEXT,
    confidence REAL,
    sources TEXT,
    sent_at TEXT,
    extra TEXT,
    content_hash TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    deleted_at TEXT,
    row_num INTEGER NOT NULL,
    missing_since TEXT,
    PRIMARY KEY (account, conversation_id, id)
) STRICT;
CREATE UNIQUE INDEX messages_by_row_num ON messages (account, row_num);
CREATE INDEX messages_by_conversation ON messages (account, conversation_id, sent_at);

-- The version of each conversation as of which its messages were read completely.
CREATE TABLE message_state (
    account TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    read_at TEXT NOT NULL,
    PRIMARY KEY (account, conversation_id)
) STRICT;

CREATE TABLE analytics_overview (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on TEXT NOT NULL,
    total_conversations INTEGER,
    resolution_rate REAL,
    avg_response_time_ms REAL,
    satisfaction_score REAL,
    extra TEXT,
    content_hash TEXT NOT NULL,
    PRIMARY KEY (account, period, captured_on)
) STRICT;

CREATE TABLE analytics_topics (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on TEXT NOT NULL,
    topic TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (account, period, captured_on, topic)
) STRICT;

CREATE TABLE analytics_channels (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on TEXT NOT NULL,
    channel TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (account, period, captured_on, channel)
) STRICT;

CREATE TABLE analytics_daily (
    account TEXT NOT NULL,
    day TEXT NOT NULL,
    conversations INTEGER NOT NULL,
    extra TEXT,
    content_hash TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (account, day)
) STRICT;

CREATE TABLE analytics_satisfaction (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on TEXT NOT NULL,
    average_score REAL,
    total_ratings INTEGER,
    extra TEXT,
    content_hash TEXT NOT NULL,
    PRIMARY KEY (account, period, captured_on)
) STRICT;

-- Which reports were captured on which day; extra holds what stood beside the rows of the daily report.
CREATE TABLE analytics_captures (
    account TEXT NOT NULL,
    report TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on TEXT NOT NULL,
    extra TEXT,
    PRIMARY KEY (account, report, period, captured_on)
) STRICT;

-- One row a run: the members of `sync --json`, what started it, and when.
CREATE TABLE sync_runs (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    resource TEXT NOT NULL,
    status TEXT NOT NULL,
    verified INTEGER NOT NULL,
    rows_seen INTEGER NOT NULL,
    inserted INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    restored INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    rate_limited INTEGER NOT NULL,
    seconds REAL NOT NULL,
    error TEXT,
    trigger TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    PRIMARY KEY (account, id)
) STRICT;
CREATE INDEX sync_runs_by_resource ON sync_runs (account, resource, finished_at);

CREATE TABLE sync_state (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    learned_order TEXT,
    checkpoint TEXT,
    watermark INTEGER NOT NULL DEFAULT 0,
    settled_at TEXT,
    last_complete_at TEXT,
    last_verified_at TEXT,
    rows INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, resource)
) STRICT;

-- What the API said of each account's rate limit, last time.
CREATE TABLE rate_budgets (
    account TEXT NOT NULL,
    rate_limit INTEGER,
    remaining INTEGER,
    resets_at TEXT,
    observed_at TEXT NOT NULL,
    PRIMARY KEY (account)
) STRICT;

-- What could not be stored, as it came. raw_hash is the SHA-256 of raw, so that the same bad row met again writes
-- nothing.
CREATE TABLE quarantine (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    raw_hash TEXT NOT NULL,
    id TEXT,
    conversation_id TEXT,
    reason TEXT NOT NULL,
    raw TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (account, resource, raw_hash)
) STRICT;
CREATE INDEX quarantine_by_id ON quarantine (account, resource, id);

CREATE TABLE webhook_events (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    event TEXT,
    received_at TEXT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'done', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    processed_at TEXT,
    PRIMARY KEY (account, id)
) STRICT;
CREATE INDEX webhook_events_by_status ON webhook_events (account, status, received_at);
