-- name: add_schedule
INSERT INTO schedules ({schedule}) VALUES ({:schedule})

-- name: schedule
SELECT {schedule} FROM schedules WHERE id = ANY (ARRAY[:id::text]) AND project_id = :project_id ORDER BY id

-- name: lock_schedules
SELECT {schedule} FROM schedules WHERE id = ANY (:ids::text[]) ORDER BY id FOR UPDATE

-- name: count_schedules
SELECT count(*) FROM schedules WHERE project_id = :project_id AND status <> 'deleting'

-- name: lock_standing_schedules
SELECT {schedule} FROM schedules
WHERE id = ANY (ARRAY(SELECT id FROM schedules WHERE project_id = :project_id)) AND status <> 'deleting'
ORDER BY id FOR UPDATE

-- name: schedules_page
SELECT {schedule} FROM schedules
WHERE project_id = :project_id AND (:status::text IS NULL OR status = :status)
  AND (:source_trigger_id::text IS NULL OR source_trigger_id = :source_trigger_id)
  AND (created_at, id) > (:after_at::bigint, :after_id::text)
ORDER BY created_at, id LIMIT :limit

-- name: due_schedules
SELECT {schedule} FROM schedules WHERE next_fire_at <= :now ORDER BY next_fire_at, id LIMIT :limit
FOR UPDATE SKIP LOCKED

-- name: due_schedules_with_keys
SELECT {schedule} FROM schedules WHERE next_fire_at <= :now AND flow IS NOT NULL
ORDER BY next_fire_at, id LIMIT :limit

-- name: delete_schedule
-- postgres
DELETE FROM schedules WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM schedules WHERE id = ANY (ARRAY[:id::text]) AND version = :version ORDER BY id
)) AND id || '' = :id
-- sqlite
DELETE FROM schedules WHERE id = :id AND version = :version
