-- name: held
-- A lease is a deadline: whatever is held stands in the index of deadlines, and needs none of its own. ?2 a JSON array.
SELECT lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
FROM (
  SELECT seq, lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
  FROM runs WHERE project_id = ?1 AND due_at IS NOT NULL ORDER BY due_at, seq LIMIT ?3
)
WHERE lease_expires_at IS NOT NULL AND lease_owner IN (SELECT value FROM json_each(?2))
ORDER BY attempt_started_at, seq
