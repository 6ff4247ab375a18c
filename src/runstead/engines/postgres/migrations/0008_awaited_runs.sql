-- A run that waits for one right below it, and the mark on that one.
ALTER TABLE runs ADD COLUMN waiting_run_id text COLLATE "C";
ALTER TABLE runs ADD COLUMN awaited_at bigint;
