-- The inbox of webhook events. entity is what the event is about and is fetched again, 'conversation:ID', 'contact:ID' or
-- 'event:KEY' where there is nothing to fetch; due_at is when a pending event is tried; forwarded_at when it was passed on; crashes how
-- often a program ended while it was applied.
ALTER TABLE webhook_events ADD COLUMN entity TEXT;
ALTER TABLE webhook_events ADD COLUMN occurred_at TEXT;
ALTER TABLE webhook_events ADD COLUMN due_at TEXT;
ALTER TABLE webhook_events ADD COLUMN forwarded_at TEXT;
ALTER TABLE webhook_events ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX webhook_events_open ON webhook_events (account, entity, received_at) WHERE status IN ('pending', 'processing');
CREATE INDEX webhook_events_done ON webhook_events (account, processed_at) WHERE status = 'done' AND forwarded_at IS NULL;

-- Which program applies the events of an account just now: a lease, as in jobs.
CREATE TABLE inboxes (
    account TEXT NOT NULL,
    holder TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    PRIMARY KEY (account)
) STRICT;

-- What AllAI was last told to send, and where. secret_digest tells whether the secret is still that one.
CREATE TABLE webhook_subscriptions (
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    webhook_id TEXT,
    events TEXT NOT NULL,
    secret_digest TEXT NOT NULL,
    registered_at TEXT NOT NULL,
    PRIMARY KEY (account)
) STRICT;

-- What events alone tell: no list of the API has it.
CREATE TABLE satisfaction_ratings (
    account TEXT NOT NULL,
    event_id TEXT NOT NULL,
    conversation_id TEXT,
    contact_id TEXT,
    score REAL,
    comment TEXT,
    rated_at TEXT NOT NULL,
    extra TEXT,
    PRIMARY KEY (account, event_id)
) STRICT;
CREATE INDEX satisfaction_ratings_by_conversation ON satisfaction_ratings (account, conversation_id);
CREATE TABLE handoff_requests (
    account TEXT NOT NULL,
    event_id TEXT NOT NULL,
    conversation_id TEXT,
    contact_id TEXT,
    reason TEXT,
    requested_at TEXT NOT NULL,
    extra TEXT,
    PRIMARY KEY (account, event_id)
) STRICT;
CREATE INDEX handoff_requests_by_conversation ON handoff_requests (account, conversation_id);
CREATE TABLE lead_events (
    account TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event TEXT NOT NULL,
    contact_id TEXT,
    conversation_id TEXT,
    score REAL,
    occurred_at TEXT NOT NULL,
    extra TEXT,
    PRIMARY KEY (account, event_id)
) STRICT;
CREATE INDEX lead_events_by_contact ON lead_events (account, contact_id);

-- Who was given a session token, never the token.
CREATE TABLE session_tokens (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    issued_at TEXT NOT NULL,
    chatbot_id TEXT NOT NULL,
    visitor_id TEXT NOT NULL,
    expires_at TEXT,
    requested_from TEXT,
    PRIMARY KEY (account, id)
) STRICT;

-- Incidents of further kinds: events that are dead, and no events where there should be some.
CREATE TABLE incidents_of_more_kinds (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    kind TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    summary TEXT NOT NULL,
    remedy TEXT NOT NULL,
    resolved_at TEXT,
    webhook_told BIGINT NOT NULL DEFAULT 0,
    mail_told BIGINT NOT NULL DEFAULT 0,
    telling_until TEXT,
    PRIMARY KEY (account, resource, kind, opened_at)
);
INSERT INTO incidents_of_more_kinds SELECT * FROM incidents;
DROP TABLE incidents;
ALTER TABLE incidents_of_more_kinds RENAME TO incidents;
CREATE UNIQUE INDEX incidents_open ON incidents (account, resource, kind) WHERE resolved_at IS NULL;
