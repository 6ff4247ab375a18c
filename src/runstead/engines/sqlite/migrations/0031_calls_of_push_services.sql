-- The last calls that a push service accepted, and did not.
ALTER TABLE push_services ADD COLUMN last_success_at INTEGER;
ALTER TABLE push_services ADD COLUMN last_success_run_id TEXT;
ALTER TABLE push_services ADD COLUMN last_error_at INTEGER;
ALTER TABLE push_services ADD COLUMN last_error_run_id TEXT;
ALTER TABLE push_services ADD COLUMN last_error TEXT;
