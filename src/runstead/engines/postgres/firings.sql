-- name: runs_of_schedules_alive
-- The oldest of each that have not ended, as many as are asked for.
SELECT asked.id, alive.*
FROM unnest($1::text[], $2::bigint[]) AS asked (id, most)
CROSS JOIN LATERAL (
  SELECT {columns} FROM {runs}
  WHERE schedule_id = ANY (ARRAY[asked.id]) AND status IN ('pending', 'running', 'waiting')
  ORDER BY schedule_id, seq LIMIT asked.most
) AS alive
