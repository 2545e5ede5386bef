-- When somebody asked for a run (requested_at) and for a full one (requested_full_at): a run that has begun sees to what was
-- asked for before, and to nothing that was asked for since.
ALTER TABLE jobs ADD COLUMN requested_full_at TEXT;
UPDATE jobs SET requested_full_at = requested_at, requested_at = NULL WHERE requested_full;
ALTER TABLE jobs DROP COLUMN requested_full;
