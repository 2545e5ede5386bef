-- What needed a person: opened once, told of once, and told of again when it is over. resource is '' where it is the whole
-- account's. webhook_told and mail_told: what was told that way, 0 nothing, 1 that it is there, 2 that it is over; telling_until
-- keeps two programs from telling at once.
CREATE TABLE incidents (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('stale', 'failing', 'key_refused', 'forbidden', 'deletions_held_back')),
    opened_at TIMESTAMPTZ NOT NULL,
    summary TEXT NOT NULL,
    remedy TEXT NOT NULL,
    resolved_at TIMESTAMPTZ,
    webhook_told BIGINT NOT NULL DEFAULT 0,
    mail_told BIGINT NOT NULL DEFAULT 0,
    telling_until TIMESTAMPTZ,
    PRIMARY KEY (account, resource, kind, opened_at)
);
CREATE UNIQUE INDEX incidents_open ON incidents (account, resource, kind) WHERE resolved_at IS NULL;
