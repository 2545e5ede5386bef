-- What happened that rules may be about, noted in the transaction that stores it, and gone once they were asked. For one version of a
-- subject it is noted once; the conversation is that of a message, and else empty.
CREATE TABLE automation_triggers (
    account TEXT NOT NULL,
    subject TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    is_new INTEGER NOT NULL,
    noted_at TEXT NOT NULL,
    PRIMARY KEY (account, subject, conversation_id, id, version)
) STRICT;

-- What rules did: a run for each rule and version of what it is about, which is what makes it one run.
CREATE TABLE automation_runs (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    rule TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    version TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    contact_id TEXT,
    status TEXT NOT NULL,
    dry INTEGER NOT NULL,
    problem TEXT,
    facts TEXT NOT NULL,
    due_at TEXT,
    holder TEXT,
    expires_at TEXT,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    PRIMARY KEY (account, id)
) STRICT;
CREATE UNIQUE INDEX automation_runs_once ON automation_runs (account, rule, subject, conversation_id, subject_id, version);
CREATE INDEX automation_runs_open ON automation_runs (account, due_at) WHERE finished_at IS NULL;
CREATE INDEX automation_runs_dead ON automation_runs (account) WHERE status = 'dead';
CREATE INDEX automation_runs_of_account ON automation_runs (account, created_at);
CREATE INDEX automation_runs_of_rule ON automation_runs (account, rule, created_at);
CREATE INDEX automation_runs_of_conversation ON automation_runs (account, conversation_id, created_at);

-- Their steps. An effect is 'intended' before it is tried, and unsure as long as only the other side knows whether it happened.
CREATE TABLE automation_steps (
    account TEXT NOT NULL,
    run_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    unsure INTEGER NOT NULL,
    input TEXT,
    output TEXT,
    problem TEXT,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    PRIMARY KEY (account, run_id, position)
) STRICT;
