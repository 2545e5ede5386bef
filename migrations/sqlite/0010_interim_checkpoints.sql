-- Postgres has a table more; what it holds is in a file of its own beside SQLite's, so that it never waits for the disk.
SELECT 1;
