-- name: put_target
-- An unchanged row is not written, so that workers which start together do not wait for each other.
INSERT INTO targets AS t (project_id, {target_definition}, registered_at)
VALUES (:project_id, {:target_definition}, :registered_at)
ON CONFLICT (project_id, target) DO UPDATE SET
  description = excluded.description, input_schema = excluded.input_schema, output_schema = excluded.output_schema,
  version = excluded.version, validate_input = excluded.validate_input, registered_at = excluded.registered_at
WHERE t.description IS DISTINCT FROM excluded.description OR t.input_schema IS DISTINCT FROM excluded.input_schema
  OR t.output_schema IS DISTINCT FROM excluded.output_schema OR t.version IS DISTINCT FROM excluded.version
  OR t.validate_input IS DISTINCT FROM excluded.validate_input

-- name: add_worker_target
INSERT INTO worker_targets (worker_id, target, project_id) VALUES (:worker_id, :target, :project_id)

-- name: worker_targets
SELECT target FROM worker_targets WHERE project_id = :project_id AND worker_id = :worker_id ORDER BY target

-- name: remove_worker_targets
DELETE FROM worker_targets WHERE project_id = :project_id AND worker_id = :worker_id

-- name: remove_target_of_no_worker
DELETE FROM targets WHERE project_id = :project_id AND target = :target
  AND NOT EXISTS (SELECT 1 FROM worker_targets AS s WHERE s.project_id = :project_id AND s.target = :target)

-- name: targets_page
-- A scalar subquery leaves one plan: each worker is found by its id.
SELECT {t.target_definition}, t.registered_at,
  (SELECT count(*) FROM worker_targets AS s WHERE s.project_id = t.project_id AND s.target = t.target
    AND (SELECT w.silent_at IS NULL FROM workers AS w WHERE w.id = s.worker_id)) AS online,
  (SELECT max((SELECT w.last_heartbeat_at FROM workers AS w WHERE w.id = s.worker_id)) FROM worker_targets AS s
    WHERE s.project_id = t.project_id AND s.target = t.target) AS last_seen_at
FROM targets AS t WHERE t.project_id = :project_id AND t.target > :after ORDER BY t.target LIMIT :limit

-- name: target
SELECT {target_definition} FROM targets WHERE project_id = :project_id AND target = :target

-- name: target_states
SELECT t.target, CASE WHEN t.validate_input THEN t.input_schema END AS input_schema,
  (SELECT count(*) FROM worker_targets AS s WHERE s.project_id = t.project_id AND s.target = t.target
    AND (SELECT w.silent_at IS NULL FROM workers AS w WHERE w.id = s.worker_id)) AS online,
  (SELECT max((SELECT w.last_heartbeat_at FROM workers AS w WHERE w.id = s.worker_id)) FROM worker_targets AS s
    WHERE s.project_id = t.project_id AND s.target = t.target) AS last_seen_at
FROM targets AS t WHERE t.project_id = :project_id ORDER BY t.target LIMIT :limit

-- name: online_worker_without_targets
-- It may serve any target.
SELECT w.id FROM workers AS w
WHERE w.project_id = :project_id AND w.silent_at IS NULL
  AND (SELECT s.target FROM worker_targets AS s WHERE s.project_id = w.project_id AND s.worker_id = w.id
    ORDER BY s.target LIMIT 1) IS NULL
ORDER BY w.implementation_kind, w.worker_key LIMIT 1
