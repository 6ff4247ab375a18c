-- name: trigger_by_token
SELECT {trigger} FROM triggers WHERE token_hash = :token_hash

-- name: triggers_by_event
SELECT {trigger} FROM triggers
WHERE project_id = :project_id AND event_name = :name AND disabled_at IS NULL ORDER BY created_at, id

-- name: triggers_page
SELECT {trigger} FROM triggers
WHERE project_id = :project_id AND (created_at, id) > (:after_at::bigint, :after_id::text)
ORDER BY created_at, id LIMIT :limit

