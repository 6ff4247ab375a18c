-- name: schedule
SELECT {schedule} FROM schedules WHERE id = ANY (ARRAY[$1::text]) AND project_id = $2 ORDER BY id

-- name: lock_schedules
SELECT {schedule} FROM schedules WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE

-- name: count_schedules
SELECT count(*) FROM schedules WHERE project_id = $1 AND status <> 'deleting'

-- name: lock_standing_schedules
SELECT {schedule} FROM schedules
WHERE id = ANY (ARRAY(SELECT id FROM schedules WHERE project_id = $1)) AND status <> 'deleting' ORDER BY id FOR UPDATE

-- name: delete_schedule
DELETE FROM schedules WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM schedules WHERE id = ANY (ARRAY[$1::text]) AND version = $2 ORDER BY id
))

-- name: due_schedules
SELECT {schedule} FROM schedules WHERE next_fire_at <= $1 ORDER BY next_fire_at, id LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: runs_of_schedules_alive
-- The oldest of each that have not ended, as many as are asked for.
SELECT asked.id, alive.*
FROM unnest($1::text[], $2::bigint[]) AS asked (id, most)
CROSS JOIN LATERAL (
  SELECT {columns} FROM {runs}
  WHERE schedule_id = ANY (ARRAY[asked.id]) AND status IN ('pending', 'running', 'waiting')
  ORDER BY schedule_id, seq LIMIT asked.most
) AS alive

-- name: schedules_page
SELECT {schedule} FROM schedules
WHERE project_id = $1 AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR source_trigger_id = $3)
ORDER BY created_at, id LIMIT $4
