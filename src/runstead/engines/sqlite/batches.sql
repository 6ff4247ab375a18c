-- name: batch_alive
SELECT seq FROM runs INDEXED BY runs_by_batch
WHERE batch_id = ? AND project_id = ? AND status IN ('pending', 'running', 'waiting') ORDER BY seq LIMIT ?
