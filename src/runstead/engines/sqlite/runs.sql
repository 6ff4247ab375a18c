-- name: run_by_unique_key
SELECT {columns} FROM runs INDEXED BY runs_unique_key
WHERE project_id = ? AND unique_key = ? AND coalesce(target, '') = ? ORDER BY seq DESC LIMIT 1

-- name: run_by_debounce_key
SELECT {columns} FROM runs INDEXED BY runs_debounce_key
WHERE project_id = ? AND debounce_key = ? AND coalesce(target, '') = ? AND status = 'pending' AND attempt = 0
ORDER BY seq DESC LIMIT 1

-- name: run_by_key
SELECT {columns} FROM runs WHERE run_id = ? AND project_id = ?

-- name: run_by_seq
SELECT {columns} FROM runs WHERE seq = ?

-- name: runs_by_id
SELECT {columns} FROM runs WHERE run_id = ? AND project_id IN (SELECT value FROM json_each(?)) LIMIT 2

-- name: stored_ids
SELECT run_id FROM runs WHERE project_id = ? AND run_id IN (SELECT value FROM json_each(?))

-- name: last_seq
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0)

-- name: children
SELECT seq FROM runs WHERE parent_seq = ?1 AND seq > ?3 AND (?4 IS NULL OR kind = ?4) ORDER BY seq LIMIT ?2

-- name: family
SELECT seq FROM runs WHERE seq = ?1 AND seq > ?3
UNION ALL
SELECT seq FROM (
  SELECT seq FROM runs WHERE root_seq = ?1 AND parent_seq IS NOT NULL AND seq > ?3 ORDER BY seq LIMIT ?2
)
LIMIT ?2

-- name: subtree
-- The run itself and its descendants: the path of both, with their own step, contains the step.
SELECT seq FROM runs
WHERE root_seq = ?1 AND parent_seq IS NOT NULL AND seq > ?3 AND instr(path || seq || '/', ?4) > 0 ORDER BY seq LIMIT ?2

-- name: active_descendants
-- Those that a cancel reaches: neither compensations nor their descendants, of which '~' stands in the path.
SELECT {columns} FROM runs
WHERE root_seq = ?1 AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting') AND instr(path, ?2) > 0
  AND instr(substr(path, instr(path, ?2)), '~') = 0 AND seq > ?3
ORDER BY seq LIMIT ?4

-- name: cancelling
-- Cancelled runs with descendants that are not cancelled yet.
SELECT run_seq FROM family_cancels ORDER BY run_seq LIMIT ?

-- name: add_family_cancel
INSERT INTO family_cancels (run_seq) VALUES (?) ON CONFLICT DO NOTHING

-- name: delete_family_cancel
DELETE FROM family_cancels WHERE run_seq = ?

-- name: cancelled_among
SELECT 1 FROM runs WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'cancelled' LIMIT 1

-- name: attempts
SELECT {attempt} FROM run_attempts WHERE run_seq = ? AND attempt > ? ORDER BY attempt

-- name: add_attempt
INSERT INTO run_attempts (run_seq, {attempt})
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: receipt
SELECT {receipt} FROM run_receipts WHERE run_seq = ? AND key = ?

-- name: add_receipt
-- A call that an open event names may have been answered before: the first answer counts.
INSERT INTO run_receipts (run_seq, {receipt}) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: values
SELECT {run_value} FROM run_values WHERE run_seq = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY name

-- name: value_names
SELECT name FROM run_values WHERE run_seq = ?

-- name: set_value
INSERT OR REPLACE INTO run_values (run_seq, {run_value}) VALUES (?, ?, ?, ?, ?)

-- name: signals
SELECT {signal} FROM run_signals
WHERE run_seq = ?1 AND number > ?2 AND (?3 IS NULL OR (taken_at IS NOT NULL) = ?3) ORDER BY number LIMIT ?4

-- name: sent_signals
SELECT coalesce((SELECT max(number) FROM run_signals WHERE run_seq = ?1), 0),
  (SELECT count(*) FROM (SELECT 1 FROM run_signals WHERE run_seq = ?1 AND taken_at IS NULL LIMIT ?2))

-- name: signal_by_key
SELECT {signal} FROM run_signals WHERE run_seq = ? AND key = ?

-- name: oldest_signal
SELECT {signal} FROM run_signals WHERE run_seq = ? AND name = ? AND taken_at IS NULL ORDER BY number LIMIT 1

-- name: store_signal
INSERT INTO run_signals (run_seq, {signal}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_seq, number) DO UPDATE SET taken_at = excluded.taken_at, event_id = excluded.event_id

-- name: hold_content
INSERT INTO held_contents (run_seq, uid) VALUES (?, ?)

-- name: compensations
SELECT {compensation} FROM run_compensations WHERE run_seq = ? ORDER BY number

-- name: registered_bytes
SELECT coalesce(sum(coalesce(length(config), 0) + coalesce(length(input), 0)), 0) FROM run_compensations WHERE run_seq = ?

-- name: compensation_by_key
SELECT {compensation} FROM run_compensations WHERE run_seq = ? AND key = ?

-- name: store_compensation
INSERT INTO run_compensations (run_seq, {compensation}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_seq, number) DO UPDATE
SET config = excluded.config, input = excluded.input, child_seq = excluded.child_seq

-- name: first_compensation
-- The first of a run's compensations that has not ended, in the order in which they run.
SELECT {columns} FROM runs
WHERE seq = (
  SELECT r.seq FROM run_compensations AS c JOIN runs AS r ON r.seq = c.child_seq
  WHERE c.run_seq = ? AND r.status IN ('pending', 'running', 'waiting') ORDER BY c.number DESC LIMIT 1
)

-- name: latest_event_ids
SELECT seq, latest_event_id FROM runs WHERE seq IN (SELECT value FROM json_each(?))

-- name: delete_run
DELETE FROM runs WHERE seq = ? AND version = ?

-- name: delete_attempts
DELETE FROM run_attempts WHERE run_seq = ?

-- name: delete_receipts
DELETE FROM run_receipts WHERE run_seq = ?

-- name: delete_values
DELETE FROM run_values WHERE run_seq = ?

-- name: delete_signals
DELETE FROM run_signals WHERE run_seq = ?

-- name: delete_run_spending
DELETE FROM run_spending WHERE run_seq = ?

-- name: delete_budgets_of_run
DELETE FROM budgets WHERE family_seq = ?1 AND family_seq > 0

-- name: delete_budget_sums_of_run
DELETE FROM budget_sums WHERE family_seq = ?1 AND family_seq > 0

-- name: delete_compensations
DELETE FROM run_compensations WHERE run_seq = ?

-- name: delete_sessions
DELETE FROM worker_sessions WHERE run_seq = ?

-- name: delete_input_requests
DELETE FROM input_requests WHERE run_seq = ?

-- name: delete_input_secrets
DELETE FROM input_secrets WHERE run_seq = ?

-- name: active_runs_of_schedule
SELECT {columns} FROM runs
WHERE schedule_id = ? AND schedule_id IS NOT NULL AND status IN ('pending', 'running', 'waiting')
ORDER BY seq LIMIT ?

-- name: active_runs_of_batch
SELECT seq FROM runs INDEXED BY runs_by_batch
WHERE batch_id = ? AND project_id = ? AND status IN ('pending', 'running', 'waiting') ORDER BY seq LIMIT ?
