-- name: add_rollup_entry
INSERT INTO rollup_entries (run_seq, version, action, project_id, facts) VALUES (?, ?, ?, ?, ?)

-- name: rollup_entries
-- The oldest entries as one row, because each row costs a switch between threads.
SELECT folds, max(id), json_group_array(json_array(action, project_id, hex(facts)))
FROM (SELECT id, action, project_id, facts FROM rollup_entries ORDER BY id LIMIT ?), rollup_folds

-- name: begin_tick
UPDATE rollup_folds SET folds = folds + 1 WHERE folds = ?

-- name: drop_rollup_entries
DELETE FROM rollup_entries WHERE id <= ?

-- name: add_usage
INSERT INTO usage_rollups
  (project_id, way, width, bucket, name, provider, model,
   runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  runs = runs + excluded.runs,
  input_tokens = input_tokens + excluded.input_tokens,
  output_tokens = output_tokens + excluded.output_tokens,
  cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens

-- name: activity_durations
SELECT durations FROM activity_rollups
WHERE project_id = ? AND way = ? AND width = ? AND bucket = ? AND name = ? AND kind = ? AND status = ?

-- name: add_activity
INSERT INTO activity_rollups (project_id, way, width, bucket, name, kind, status, runs, durations)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET runs = runs + excluded.runs, durations = excluded.durations

-- name: not_rolled_up
SELECT 1 FROM rollup_backlog WHERE below_seq > ?1 AND NOT EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = ?1)
