-- name: runs_of_schedule_alive
SELECT {columns} FROM runs
WHERE schedule_id = ? AND schedule_id IS NOT NULL AND status IN ('pending', 'running', 'waiting')
ORDER BY seq LIMIT ?
