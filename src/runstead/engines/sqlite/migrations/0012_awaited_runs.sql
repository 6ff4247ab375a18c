-- A run that waits for one right below it, and the mark on that one.
ALTER TABLE runs ADD COLUMN waiting_run_id TEXT;
ALTER TABLE runs ADD COLUMN awaited_at INTEGER;
