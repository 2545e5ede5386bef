-- Which daemon (keeper, as in jobs.holder, with the configuration it reads as source) keeps which jobs, and when it last said so:
-- what is wrong with a job that none keeps any more is over.
CREATE TABLE keepers (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    keeper TEXT NOT NULL,
    source TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (account, resource, keeper)
);
