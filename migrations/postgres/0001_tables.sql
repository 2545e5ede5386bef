-- The mirrored tables, their history, the reports, and the sync's own books.
--
-- Rows are never deleted by a sync: deleted_at is set, and cleared when the row is seen again. row_num (the row's
-- internal number) and missing_since (since when sweeps have not seen it) belong to the sync; ignore them in reports.

CREATE TABLE contacts (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    email TEXT,
    phone TEXT,
    tags JSONB,
    custom_fields JSONB,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    extra JSONB,
    content_hash TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    row_num BIGINT NOT NULL,
    missing_since TIMESTAMPTZ,
    PRIMARY KEY (account, id)
);
CREATE UNIQUE INDEX contacts_by_row_num ON contacts (account, row_num);

CREATE TABLE contacts_history (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    email TEXT,
    phone TEXT,
    tags JSONB,
    custom_fields JSONB,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    extra JSONB,
    content_hash TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    valid_from TIMESTAMPTZ NOT NULL,
    valid_to TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, id, valid_from)
);

CREATE TABLE conversations (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    chatbot_id TEXT,
    contact_id TEXT,
    visitor_name TEXT,
    visitor_email TEXT,
    visitor JSONB,
    channel TEXT,
    status TEXT,
    resolution TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    extra JSONB,
    content_hash TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    row_num BIGINT NOT NULL,
    missing_since TIMESTAMPTZ,
    PRIMARY KEY (account, id)
);
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
    visitor JSONB,
    channel TEXT,
    status TEXT,
    resolution TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    extra JSONB,
    content_hash TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    valid_from TIMESTAMPTZ NOT NULL,
    valid_to TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, id, valid_from)
);

CREATE TABLE messages (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    role TEXT,
    type TEXT,
    content TEXT,
    confidence DOUBLE PRECISION,
    sources JSONB,
    sent_at TIMESTAMPTZ,
    extra JSONB,
    content_hash TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    row_num BIGINT NOT NULL,
    missing_since TIMESTAMPTZ,
    PRIMARY KEY (account, conversation_id, id)
);
CREATE UNIQUE INDEX messages_by_row_num ON messages (account, row_num);
CREATE INDEX messages_by_conversation ON messages (account, conversation_id, sent_at);

-- The version of each conversation as of which its messages were read completely.
CREATE TABLE message_state (
    account TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    read_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, conversation_id)
);

CREATE TABLE analytics_overview (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on DATE NOT NULL,
    total_conversations BIGINT,
    resolution_rate DOUBLE PRECISION,
    avg_response_time_ms DOUBLE PRECISION,
    satisfaction_score DOUBLE PRECISION,
    extra JSONB,
    content_hash TEXT NOT NULL,
    PRIMARY KEY (account, period, captured_on)
);

CREATE TABLE analytics_topics (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on DATE NOT NULL,
    topic TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (account, period, captured_on, topic)
);

CREATE TABLE analytics_channels (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on DATE NOT NULL,
    channel TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (account, period, captured_on, channel)
);

CREATE TABLE analytics_daily (
    account TEXT NOT NULL,
    day DATE NOT NULL,
    conversations BIGINT NOT NULL,
    extra JSONB,
    content_hash TEXT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, day)
);

CREATE TABLE analytics_satisfaction (
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on DATE NOT NULL,
    average_score DOUBLE PRECISION,
    total_ratings BIGINT,
    extra JSONB,
    content_hash TEXT NOT NULL,
    PRIMARY KEY (account, period, captured_on)
);

-- Which reports were captured on which day; extra holds what stood beside the rows of the daily report.
CREATE TABLE analytics_captures (
    account TEXT NOT NULL,
    report TEXT NOT NULL,
    period TEXT NOT NULL,
    captured_on DATE NOT NULL,
    extra JSONB,
    PRIMARY KEY (account, report, period, captured_on)
);

-- One row a run: the members of `sync --json`, what started it, and when.
CREATE TABLE sync_runs (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    resource TEXT NOT NULL,
    status TEXT NOT NULL,
    verified BOOLEAN NOT NULL,
    rows_seen BIGINT NOT NULL,
    inserted BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    restored BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    rate_limited BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    error TEXT,
    trigger TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, id)
);
CREATE INDEX sync_runs_by_resource ON sync_runs (account, resource, finished_at);

CREATE TABLE sync_state (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    learned_order TEXT,
    checkpoint TEXT,
    watermark BIGINT NOT NULL DEFAULT 0,
    settled_at TIMESTAMPTZ,
    last_complete_at TIMESTAMPTZ,
    last_verified_at TIMESTAMPTZ,
    rows BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (account, resource)
);

-- What the API said of each account's rate limit, last time.
CREATE TABLE rate_budgets (
    account TEXT NOT NULL,
    rate_limit BIGINT,
    remaining BIGINT,
    resets_at TIMESTAMPTZ,
    observed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account)
);

-- What could not be stored. raw is kept as it came, which Postgres can do in JSON but not in JSONB (NUL characters);
-- raw_hash is the SHA-256 of it, so that the same bad row met again writes nothing.
CREATE TABLE quarantine (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    raw_hash TEXT NOT NULL,
    id TEXT,
    conversation_id TEXT,
    reason TEXT NOT NULL,
    raw JSON NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, resource, raw_hash)
);
CREATE INDEX quarantine_by_id ON quarantine (account, resource, id);

CREATE TABLE webhook_events (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    event TEXT,
    received_at TIMESTAMPTZ NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'done', 'dead')),
    attempts BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    processed_at TIMESTAMPTZ,
    PRIMARY KEY (account, id)
);
CREATE INDEX webhook_events_by_status ON webhook_events (account, status, received_at);
