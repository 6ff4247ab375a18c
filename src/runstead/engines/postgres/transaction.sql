-- name: moment
SELECT {clock}, pg_current_xact_id()::text

-- name: pulse
UPDATE pulse SET at = $1

-- name: writable
-- Fails with a lock timeout while no run can be written, for example during a migration.
LOCK TABLE runs, run_events IN ROW EXCLUSIVE MODE
