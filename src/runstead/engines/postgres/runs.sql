-- Statements are written so that PostgreSQL has one plan for each, independent of statistics (docs/decisions/0022):
-- LATERAL with LIMIT instead of a join; `= ANY (ARRAY[…])` and ORDER BY all columns of an index to select it; update by ctid.
-- A team may partition tables by project_id (docs/distribution.md): a ctid is unique in its partition only, so the row is
-- named by something else too, which no index serves.

-- name: load
-- Locks the named runs, and all ancestors of a parent, in the order of seq, as every transaction does. The time is read
-- after each lock; the last one counts. Also returns a seq for each new run, which of the projects $4 have webhooks,
-- budgets or rates of tokens, which of $5 have concurrency limits or keys, and how many runs are to be locked: with SKIP
-- LOCKED fewer may be.
WITH named AS MATERIALIZED (
  SELECT r.seq, r.path, k.parent
  FROM unnest($1::text[], $2::text[], $3::boolean[]) AS k (run_id, project_id, parent)
  CROSS JOIN LATERAL (SELECT seq, path FROM runs WHERE run_id = k.run_id AND project_id = k.project_id LIMIT 1) AS r
), ancestors AS MATERIALIZED (
  SELECT seq FROM named
  UNION
  SELECT step::bigint FROM named, unnest(string_to_array(trim(BOTH '/' FROM path), '/')) AS step
  WHERE parent AND path <> '/' AND step <> '~'
)
SELECT {clock}, pg_current_xact_id()::text, fresh.seqs,
  ARRAY(SELECT DISTINCT project_id FROM webhooks WHERE project_id = ANY ($4::text[]) AND disabled_at IS NULL) AS hooked,
  fresh.limited, (SELECT count(*) FROM ancestors) AS named,
  ARRAY(
    SELECT p.id FROM unnest($4::text[]) AS p (id) CROSS JOIN LATERAL (
      SELECT FROM budgets WHERE project_id = ANY (ARRAY[p.id]) ORDER BY project_id, family_seq LIMIT 1
    ) AS b
  ) AS budgeted,
  ARRAY(
    SELECT p.id FROM unnest($4::text[]) AS p (id) CROSS JOIN LATERAL (
      SELECT FROM concurrency_limits WHERE project_id = ANY (ARRAY[p.id]) AND rate_unit = 'tokens'
      ORDER BY project_id LIMIT 1
    ) AS l
  ) AS rated,
  locked.*
FROM (
  SELECT
    ARRAY(SELECT nextval('run_seq') FROM generate_series(1, cardinality($1) - (SELECT count(*) FROM named))),
    ARRAY(
      SELECT project_id FROM concurrency_limits WHERE project_id = ANY ($5::text[])
      UNION
      SELECT project_id FROM keyed_targets WHERE project_id = ANY ($5::text[])
    )
) AS fresh (seqs, limited)
LEFT JOIN LATERAL (
  SELECT {locked} FROM {runs} WHERE seq = ANY (ARRAY(SELECT seq FROM ancestors)) ORDER BY seq FOR UPDATE OF runs
) AS locked ON true

-- name: budgeted_projects
SELECT p.id FROM unnest($1::text[]) AS p (id) CROSS JOIN LATERAL (
  SELECT FROM budgets WHERE project_id = ANY (ARRAY[p.id]) ORDER BY project_id, family_seq LIMIT 1
) AS b

-- name: existing_runs
SELECT k.project_id, k.run_id FROM unnest($1::text[], $2::text[]) AS k (run_id, project_id)
CROSS JOIN LATERAL (SELECT FROM runs WHERE run_id = k.run_id AND project_id = k.project_id LIMIT 1) AS r

-- name: run_by_unique_key
SELECT run_id FROM runs
WHERE project_id = $1 AND unique_key = $2 AND coalesce(target, '') = $3
ORDER BY seq DESC LIMIT 1

-- name: run_by_debounce_key
SELECT run_id FROM runs
WHERE project_id = $1 AND debounce_key = $2 AND coalesce(target, '') = $3 AND status = 'pending' AND attempt = 0
ORDER BY seq DESC LIMIT 1

-- name: run_by_key
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = $2

-- name: runs_by_id
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = ANY ($2::text[]) LIMIT 2

-- name: children
SELECT seq FROM runs
WHERE parent_seq = ANY (ARRAY[$1::bigint]) AND seq > $3 AND ($4::text IS NULL OR kind = $4)
ORDER BY parent_seq, seq LIMIT $2

-- name: family
SELECT seq FROM runs WHERE seq = $1::bigint AND seq > $3::bigint
UNION ALL
SELECT * FROM (
  SELECT seq FROM runs WHERE root_seq = ANY (ARRAY[$1::bigint]) AND parent_seq IS NOT NULL AND seq > $3::bigint
  ORDER BY root_seq, seq LIMIT $2::bigint
) AS below
LIMIT $2::bigint

-- name: subtree
-- The run itself and its descendants: the path of both, with their own step, contains the step.
SELECT seq FROM runs
WHERE root_seq = ANY (ARRAY[$1::bigint]) AND parent_seq IS NOT NULL AND seq > $3 AND strpos(path || seq || '/', $4) > 0
ORDER BY root_seq, seq LIMIT $2

-- name: any_active_descendant
-- This, and the statements below that look for active descendants, find those that a cancel reaches: neither
-- compensations nor their descendants, of which '~' stands in the path.
SELECT 1 FROM runs
WHERE root_seq = ANY (ARRAY[$1::bigint]) AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0 AND strpos(substr(path, strpos(path, $2)), '~') = 0
ORDER BY root_seq, seq LIMIT 1

-- name: active_descendants
-- Locks them in the order of seq.
SELECT seq FROM runs
WHERE root_seq = ANY (ARRAY[$1::bigint]) AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0 AND strpos(substr(path, strpos(path, $2)), '~') = 0
ORDER BY root_seq, seq FOR UPDATE

-- name: locked_runs
-- Runs that this transaction has locked.
SELECT {locked} FROM {runs} WHERE seq = ANY ($1::bigint[]) ORDER BY seq

-- name: any_child
SELECT 1 FROM runs WHERE parent_seq = ANY (ARRAY[$1::bigint]) ORDER BY parent_seq, seq LIMIT 1

-- name: latest_event_ids
SELECT seq, latest_event_id FROM runs WHERE seq = ANY ($1::bigint[])

-- name: attempts
-- As many as have $3 bytes together, counting $4 for each, and one at least. The last column is the number of all.
SELECT {attempt}, found FROM (
  SELECT {attempt}, row_number() OVER ordered AS place, count(*) OVER () AS found,
    sum(coalesce(octet_length(error), 0) + $4::bigint) OVER ordered AS bytes
  FROM run_attempts WHERE run_seq = $1 AND attempt > $2
  WINDOW ordered AS (ORDER BY attempt)
) AS measured
WHERE place = 1 OR bytes <= $3::bigint ORDER BY attempt

-- name: add_attempts
INSERT INTO run_attempts (run_seq, {attempt})
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[])

-- name: receipt
SELECT {receipt} FROM run_receipts WHERE run_seq = $1 AND key = $2

-- name: add_receipts
-- A call that an open event names may have been answered before: the first answer counts.
INSERT INTO run_receipts (run_seq, {receipt}) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])
ON CONFLICT (run_seq, key) DO UPDATE SET digest = run_receipts.digest

-- name: values
SELECT {run_value} FROM run_values WHERE run_seq = $1 AND ($2::text IS NULL OR name = $2) ORDER BY name

-- name: value_names
SELECT name FROM run_values WHERE run_seq = $1

-- name: set_values
INSERT INTO run_values (run_seq, {run_value})
SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::integer[], $5::bigint[])
ON CONFLICT (run_seq, name) DO UPDATE
SET value = excluded.value, event_id = excluded.event_id, updated_at = excluded.updated_at

-- name: signals
-- As many as have $5 bytes together, and one at least. The last column is the number of all of the $4.
SELECT {signal}, found FROM (
  SELECT *, row_number() OVER ordered AS place, count(*) OVER () AS found,
    sum(octet_length(payload)) OVER ordered AS bytes
  FROM (
    SELECT {signal} FROM run_signals
    WHERE run_seq = $1 AND number > $2::bigint AND ($3::boolean IS NULL OR (taken_at IS NOT NULL) = $3)
    ORDER BY number LIMIT $4
  ) AS page
  WINDOW ordered AS (ORDER BY number)
) AS measured
WHERE place = 1 OR bytes <= $5::bigint ORDER BY number

-- name: sent_signals
SELECT coalesce((SELECT max(number) FROM run_signals WHERE run_seq = $1), 0),
  (SELECT count(*) FROM (SELECT 1 FROM run_signals WHERE run_seq = $1 AND taken_at IS NULL LIMIT $2) AS untaken)

-- name: signal_by_key
SELECT {signal} FROM run_signals WHERE run_seq = $1 AND key = $2

-- name: oldest_signal
-- Without those numbered $3, which the transaction has taken.
SELECT {signal} FROM run_signals
WHERE run_seq = $1 AND name = $2 AND taken_at IS NULL AND number <> ALL ($3::integer[]) ORDER BY number LIMIT 1

-- name: store_signals
INSERT INTO run_signals (run_seq, {signal})
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::text[],
  $8::bytea[], $9::bigint[], $10::integer[])
ON CONFLICT (run_seq, number) DO UPDATE SET taken_at = excluded.taken_at, event_id = excluded.event_id

-- name: hold_contents
INSERT INTO held_contents (run_seq, uid) SELECT * FROM unnest($1::bigint[], $2::text[])

-- name: compensations
SELECT {compensation} FROM run_compensations WHERE run_seq = $1 ORDER BY number

-- name: compensations_of_runs
SELECT run_seq, {compensation} FROM run_compensations WHERE run_seq = ANY ($1::bigint[]) ORDER BY run_seq, number

-- name: registered_bytes
SELECT coalesce(sum(coalesce(octet_length(config), 0) + coalesce(octet_length(input), 0)), 0)::bigint
FROM run_compensations WHERE run_seq = $1

-- name: compensation_by_key
SELECT {compensation} FROM run_compensations WHERE run_seq = $1 AND key = $2

-- name: store_compensations
INSERT INTO run_compensations (run_seq, {compensation})
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[],
  $8::bytea[], $9::bigint[], $10::bigint[])
ON CONFLICT (run_seq, number) DO UPDATE
SET config = excluded.config, input = excluded.input, child_seq = excluded.child_seq

-- name: drop_compensations
DELETE FROM run_compensations WHERE run_seq = ANY ($1::bigint[])

-- name: active_compensations
-- Those of the run $1 that have not ended, in the order in which they run.
SELECT r.seq FROM run_compensations AS c
CROSS JOIN LATERAL (SELECT seq, status FROM runs WHERE seq = c.child_seq LIMIT 1) AS r
WHERE c.run_seq = $1 AND r.status IN ('pending', 'running', 'waiting') ORDER BY c.number DESC

-- name: lock_compensations
SELECT {locked} FROM {runs} WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE OF runs

-- name: delete_runs
-- Deletes a run with its data, except its message and ancestors' counters. Its positions in the family log stay empty.
WITH gone AS (DELETE FROM runs WHERE seq = $1 AND version = $2 RETURNING seq, created_at),
events AS (
  DELETE FROM run_events WHERE run_created_at = (SELECT created_at FROM gone) AND run_seq = (SELECT seq FROM gone)
),
keys AS (DELETE FROM run_event_keys WHERE run_seq = (SELECT seq FROM gone)),
attempts AS (DELETE FROM run_attempts WHERE run_seq = (SELECT seq FROM gone)),
receipts AS (DELETE FROM run_receipts WHERE run_seq = (SELECT seq FROM gone)),
vals AS (DELETE FROM run_values WHERE run_seq = (SELECT seq FROM gone)),
signals AS (DELETE FROM run_signals WHERE run_seq = (SELECT seq FROM gone)),
spending AS (DELETE FROM run_spending WHERE run_seq = (SELECT seq FROM gone)),
budget_rows AS (DELETE FROM budgets WHERE family_seq > 0 AND family_seq = (SELECT seq FROM gone)),
sums AS (DELETE FROM budget_sums WHERE family_seq > 0 AND family_seq = (SELECT seq FROM gone)),
compensations AS (DELETE FROM run_compensations WHERE run_seq = (SELECT seq FROM gone)),
sessions AS (DELETE FROM worker_sessions WHERE run_seq = (SELECT seq FROM gone)),
inputs AS (DELETE FROM input_requests WHERE run_seq = (SELECT seq FROM gone)),
secrets AS (DELETE FROM input_secrets WHERE run_seq = (SELECT seq FROM gone)),
counters AS (DELETE FROM run_families WHERE run_seq = (SELECT seq FROM gone)),
log AS (DELETE FROM family_log WHERE root_seq = (SELECT seq FROM gone))
SELECT count(*) FROM gone

-- name: active_descendants_of
-- Locks the active descendants of the runs $1 (with roots $2) in the order of seq.
SELECT {locked} FROM {runs}
WHERE seq = ANY (ARRAY(
  SELECT r.seq FROM unnest($1::bigint[], $2::bigint[]) AS m (seq, root_seq)
  CROSS JOIN LATERAL (
    SELECT seq FROM runs
    WHERE root_seq = ANY (ARRAY[m.root_seq]) AND parent_seq IS NOT NULL
      AND status IN ('pending', 'running', 'waiting') AND strpos(path, '/' || m.seq || '/') > 0
      AND strpos(substr(path, strpos(path, '/' || m.seq || '/')), '~') = 0
    ORDER BY root_seq, seq
  ) AS r
))
ORDER BY seq FOR UPDATE OF runs

-- name: fresh_seqs
SELECT nextval('run_seq') FROM generate_series(1, $1)

-- name: runs_by_keys
SELECT r.* FROM unnest($1::text[], $2::text[]) AS k (run_id, project_id)
CROSS JOIN LATERAL (SELECT {columns} FROM {runs} WHERE run_id = k.run_id AND project_id = k.project_id LIMIT 1) AS r

-- name: active_families
-- (run, active descendant)
SELECT m.seq, below.seq
FROM unnest($1::bigint[], $2::bigint[]) AS m (seq, root_seq)
CROSS JOIN LATERAL (
  SELECT seq FROM runs
  WHERE root_seq = ANY (ARRAY[m.root_seq]) AND parent_seq IS NOT NULL
    AND status IN ('pending', 'running', 'waiting') AND strpos(path, '/' || m.seq || '/') > 0
    AND strpos(substr(path, strpos(path, '/' || m.seq || '/')), '~') = 0
  ORDER BY root_seq, seq
) AS below
ORDER BY below.seq

-- name: lock_free_runs
SELECT {locked} FROM {runs} WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE OF runs SKIP LOCKED

-- name: active_runs_of_schedules
-- The oldest active runs of each schedule, at most `most`.
SELECT asked.id, alive.*
FROM unnest($1::text[], $2::bigint[]) AS asked (id, most)
CROSS JOIN LATERAL (
  SELECT {columns} FROM {runs}
  WHERE schedule_id = ANY (ARRAY[asked.id]) AND status IN ('pending', 'running', 'waiting')
  ORDER BY schedule_id, seq LIMIT asked.most
) AS alive
