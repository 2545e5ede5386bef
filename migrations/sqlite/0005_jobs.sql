-- Scheduled work: one row per account and resource. A program claims a job by writing itself into its row; a claim that
-- is not renewed in time expires, and fence grows with every claim. served_at and full_served_at say up to when every
-- moment of the job's schedules has been seen to.
CREATE TABLE jobs (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    key_group TEXT NOT NULL,
    created_at TEXT NOT NULL,
    served_at TEXT,
    full_served_at TEXT,
    failures BIGINT NOT NULL DEFAULT 0,
    failed_at TEXT,
    full_failures BIGINT NOT NULL DEFAULT 0,
    full_failed_at TEXT,
    problem TEXT,
    held_back BOOLEAN NOT NULL DEFAULT FALSE,
    requested_at TEXT,
    requested_full BOOLEAN NOT NULL DEFAULT FALSE,
    holder TEXT,
    fence BIGINT NOT NULL DEFAULT 0,
    claimed_at TEXT,
    expires_at TEXT,
    running_full BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (account, resource)
);
