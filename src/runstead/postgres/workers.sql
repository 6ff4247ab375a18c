-- name: held
-- A lease is a deadline: whatever is held stands in the index of deadlines, and needs none of its own.
SELECT lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
FROM (
  SELECT seq, lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
  FROM runs WHERE project_id = $1 AND due_at IS NOT NULL ORDER BY due_at, seq LIMIT $3
) AS soonest
WHERE lease_expires_at IS NOT NULL AND lease_owner = ANY ($2::text[])
ORDER BY attempt_started_at, seq
