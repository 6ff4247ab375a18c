-- name: retire_runs
-- Deletes the runs with their data, except messages and ancestors' counters. Events are dropped with their partition.
WITH gone AS (DELETE FROM runs WHERE seq = ANY ($1::bigint[]) RETURNING seq, created_at, latest_event_id),
events AS (INSERT INTO run_leftovers SELECT created_at, seq FROM gone WHERE latest_event_id > 0),
keys AS (DELETE FROM run_event_keys WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
attempts AS (DELETE FROM run_attempts WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
receipts AS (DELETE FROM run_receipts WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
vals AS (DELETE FROM run_values WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
signals AS (DELETE FROM run_signals WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
spending AS (DELETE FROM run_spending WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
budget_rows AS (DELETE FROM budgets WHERE family_seq > 0 AND family_seq = ANY (ARRAY(SELECT seq FROM gone))),
sums AS (DELETE FROM budget_sums WHERE family_seq > 0 AND family_seq = ANY (ARRAY(SELECT seq FROM gone))),
compensations AS (DELETE FROM run_compensations WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
sessions AS (DELETE FROM worker_sessions WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
inputs AS (DELETE FROM input_requests WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
secrets AS (DELETE FROM input_secrets WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
counters AS (DELETE FROM run_families WHERE run_seq = ANY (ARRAY(SELECT seq FROM gone))),
log AS (DELETE FROM family_log WHERE root_seq = ANY (ARRAY(SELECT seq FROM gone)))
SELECT count(*) FROM gone

-- name: leftover_months
-- Partitions of one month that end before $1, oldest first: (name, from, to).
SELECT relname, bounds[1]::bigint, bounds[2]::bigint FROM (
  SELECT c.relname, regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''?(\d+)''?\) TO \(''?(\d+)') AS bounds
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'run_events'::regclass
) AS parts
WHERE bounds IS NOT NULL AND bounds[2]::bigint <= $1 ORDER BY 2

-- name: forget_leftovers
DELETE FROM run_leftovers WHERE run_created_at >= $1 AND run_created_at < $2

-- name: sweep_leftovers
-- Events of deleted runs that are in the default partition.
WITH swept AS (
  DELETE FROM run_leftovers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM run_leftovers WHERE run_created_at < $1 ORDER BY run_created_at, run_seq LIMIT $2
    FOR UPDATE SKIP LOCKED
  ))
  RETURNING run_created_at, run_seq
),
gone AS (
  -- The range of creation times selects few partitions; run_seq is unique within them.
  DELETE FROM run_events WHERE run_seq = ANY (ARRAY(SELECT run_seq FROM swept))
    AND run_created_at BETWEEN (SELECT min(run_created_at) FROM swept) AND (SELECT max(run_created_at) FROM swept)
)
SELECT count(*) FROM swept
