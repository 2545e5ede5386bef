-- Which record of a CRM a contact is. status: 'waiting' (was there before the first run, and is sent when it changes), 'skipped'
-- (the filter leaves it out, or it has no key), 'linked', 'held' (somebody refuses it, see reason) or 'conflict' (it is not clear
-- which record it is). synced: the values of both sides when they last agreed; intent: what is being done, until it is known what
-- came of it; both JSON of the program's own. email and phone: what the contact was last known by, as it is compared.
CREATE TABLE crm_links (
    account TEXT NOT NULL,
    connector TEXT NOT NULL,
    entity TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    crm_id TEXT,
    status TEXT NOT NULL,
    reason TEXT,
    email TEXT,
    phone TEXT,
    synced TEXT,
    intent TEXT,
    contact_hash TEXT NOT NULL,
    mapping_hash TEXT NOT NULL,
    dirty BOOLEAN NOT NULL,
    intended_at TIMESTAMPTZ,
    linked_at TIMESTAMPTZ,
    changed_at TIMESTAMPTZ NOT NULL,
    retry_at TIMESTAMPTZ,
    PRIMARY KEY (account, connector, entity, contact_id)
);
CREATE UNIQUE INDEX crm_links_by_record ON crm_links (account, connector, entity, crm_id) WHERE crm_id IS NOT NULL;
CREATE INDEX crm_links_by_email ON crm_links (account, connector, entity, email) WHERE email IS NOT NULL;
CREATE INDEX crm_links_by_phone ON crm_links (account, connector, entity, phone) WHERE phone IS NOT NULL;

-- How far a CRM's changes are read (cursor), and which program is at it: a lease, as in jobs.
CREATE TABLE crm_syncs (
    account TEXT NOT NULL,
    connector TEXT NOT NULL,
    entity TEXT NOT NULL,
    cursor TEXT,
    begun_at TIMESTAMPTZ,
    holder TEXT,
    expires_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    complete_at TIMESTAMPTZ,
    report TEXT,
    PRIMARY KEY (account, connector, entity)
);
