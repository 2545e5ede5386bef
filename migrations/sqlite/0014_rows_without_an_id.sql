-- Rows without an id and a date that the last verified sweep saw: what is missing later is none of these.
ALTER TABLE sync_state ADD COLUMN undated_rows INTEGER NOT NULL DEFAULT 0;
