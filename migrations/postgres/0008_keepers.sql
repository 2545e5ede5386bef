-- Which daemon (keeper, as in jobs.holder, with the configuration it reads as source) keeps which jobs, and when it last said so:
-- what is wrong with a job that none keeps any more is over.
CREATE TABLE keepers (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    keeper TEXT NOT NULL,
    source TEXT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, resource, keeper)
);
-- Daemons of a version that says nothing may be at work.
INSERT INTO keepers (account, resource, keeper, source, seen_at) SELECT account, resource, '', '', now() FROM jobs;
