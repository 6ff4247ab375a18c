-- The statements of `SqlProjectRecords`.

-- name: count_alerts | count_triggers | count_webhooks
SELECT count(*) FROM {alerts|triggers|webhooks} WHERE project_id = :project_id

-- name: add_alert | add_trigger | add_webhook
INSERT INTO {alerts|triggers|webhooks} ({{alert}|{trigger}|{webhook}}) VALUES ({{:alert}|{:trigger}|{:webhook}})

-- name: alert | trigger | webhook
SELECT {{alert}|{trigger}|{webhook}} FROM {alerts|triggers|webhooks} WHERE id = :id AND project_id = :project_id

-- name: lock_alert | lock_trigger | lock_webhook
SELECT {{alert}|{trigger}|{webhook}} FROM {alerts|triggers|webhooks} WHERE id = :id AND project_id = :project_id FOR UPDATE

-- name: delete_alert | delete_trigger | delete_webhook
DELETE FROM {alerts|triggers|webhooks} WHERE id = :id AND project_id = :project_id
RETURNING {{alert}|{trigger}|{webhook}}
