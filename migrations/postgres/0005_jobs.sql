-- Scheduled work: one row per account and resource. A program claims a job by writing itself into its row; a claim that
-- is not renewed in time expires, and fence grows with every claim. served_at and full_served_at say up to when every
-- moment of the job's schedules has been seen to.
CREATE TABLE jobs (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    key_group TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    served_at TIMESTAMPTZ,
    full_served_at TIMESTAMPTZ,
    failures BIGINT NOT NULL DEFAULT 0,
    failed_at TIMESTAMPTZ,
    full_failures BIGINT NOT NULL DEFAULT 0,
    full_failed_at TIMESTAMPTZ,
    problem TEXT,
    held_back BOOLEAN NOT NULL DEFAULT FALSE,
    requested_at TIMESTAMPTZ,
    requested_full BOOLEAN NOT NULL DEFAULT FALSE,
    holder TEXT,
    fence BIGINT NOT NULL DEFAULT 0,
    claimed_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    running_full BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (account, resource)
);
