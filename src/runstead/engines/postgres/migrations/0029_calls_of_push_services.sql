-- The last calls that a push service accepted, and did not.
ALTER TABLE push_services ADD COLUMN last_success_at bigint;
ALTER TABLE push_services ADD COLUMN last_success_run_id text;
ALTER TABLE push_services ADD COLUMN last_error_at bigint;
ALTER TABLE push_services ADD COLUMN last_error_run_id text;
ALTER TABLE push_services ADD COLUMN last_error text;
