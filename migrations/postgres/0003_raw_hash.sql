-- raw_hash is a fingerprint of a row as the server wrote it, so that most rows need not be taken apart to be found
-- unchanged; NULL where it is not known. It belongs to the sync; ignore it in reports.
--
-- The tombstoned rows have an index of their own: live rows, which are most, are counted as all rows less these.

ALTER TABLE contacts ADD COLUMN raw_hash BYTEA;
ALTER TABLE conversations ADD COLUMN raw_hash BYTEA;
ALTER TABLE messages ADD COLUMN raw_hash BYTEA;

CREATE INDEX contacts_tombstoned ON contacts (account, row_num, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX conversations_tombstoned ON conversations (account, row_num, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX messages_tombstoned ON messages (account, row_num, deleted_at) WHERE deleted_at IS NOT NULL;
