-- name: count_triggers
SELECT count(*) FROM triggers WHERE project_id = :project_id

-- name: add_trigger
INSERT INTO triggers ({trigger}) VALUES ({:trigger})

-- name: trigger
SELECT {trigger} FROM triggers WHERE id = :id AND project_id = :project_id

-- name: lock_trigger
SELECT {trigger} FROM triggers WHERE id = :id AND project_id = :project_id FOR UPDATE

-- name: trigger_by_token
SELECT {trigger} FROM triggers WHERE token_hash = :token_hash

-- name: triggers_by_event
SELECT {trigger} FROM triggers
WHERE project_id = :project_id AND event_name = :name AND disabled_at IS NULL ORDER BY created_at, id

-- name: triggers_page
SELECT {trigger} FROM triggers
WHERE project_id = :project_id AND (created_at, id) > (:after_at::bigint, :after_id::text)
ORDER BY created_at, id LIMIT :limit

-- name: delete_trigger
DELETE FROM triggers WHERE id = :id AND project_id = :project_id RETURNING {trigger}
