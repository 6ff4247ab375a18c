-- name: register_push_service
INSERT INTO push_services ({push_service}) VALUES ({:push_service})
ON CONFLICT (registrant, service_key) DO UPDATE SET
  service_name = excluded.service_name, scope_kind = excluded.scope_kind, base_url = excluded.base_url,
  invoke_url = excluded.invoke_url, project_id = excluded.project_id, agent_id = excluded.agent_id,
  version = excluded.version, runtime = excluded.runtime, region = excluded.region,
  capabilities = excluded.capabilities, metadata = excluded.metadata,
  updated_at = excluded.updated_at, last_heartbeat_at = excluded.last_heartbeat_at, disabled_at = NULL,
  silent_at = NULL
RETURNING id

-- name: push_service | push_service_by_name | push_services
SELECT {push_service}, {reach} AS reach FROM push_services
WHERE {id = :id|registrant = :registrant AND service_key = :service_key|id = ANY (:ids::text[])}

-- name: push_services_reaching
SELECT {push_service}, {reach} AS reach FROM push_services
WHERE id = ANY (ARRAY(
  SELECT service_id FROM push_reach WHERE project_id = ANY (:project_ids::text[]) ORDER BY project_id, service_id
))
ORDER BY created_at, id

-- name: push_services_page
SELECT {push_service}, {reach} AS reach FROM push_services
WHERE id = ANY (ARRAY(
  SELECT service_id FROM push_reach WHERE project_id = ANY (:project_ids::text[]) ORDER BY project_id, service_id
)) AND (created_at, id) > (:after_at::bigint, :after_id::text)
ORDER BY created_at, id LIMIT :limit

-- name: push_service_heartbeat
UPDATE push_services SET last_heartbeat_at = :now, updated_at = :now, silent_at = NULL WHERE id = :id

-- name: push_service_succeeded
UPDATE push_services SET last_success_at = :now, last_success_run_id = :run_id WHERE id = :id

-- name: push_service_failed
UPDATE push_services SET last_error_at = :now, last_error_run_id = :run_id, last_error = :error WHERE id = :id

-- name: push_services_fell_silent
UPDATE push_services SET silent_at = :now WHERE id = ANY (ARRAY(
  SELECT id FROM push_services WHERE disabled_at IS NULL AND silent_at IS NULL AND last_heartbeat_at < :before
  ORDER BY last_heartbeat_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING id

-- name: disable_push_service
UPDATE push_services SET disabled_at = coalesce(disabled_at, :now), updated_at = :now WHERE id = :id

-- name: enable_push_service
UPDATE push_services SET disabled_at = NULL, updated_at = :now WHERE id = :id

-- name: delete_push_service
DELETE FROM push_services WHERE id = :id

-- name: drop_reach
DELETE FROM push_reach WHERE service_id = :service_id

-- name: add_reach
INSERT INTO push_reach (project_id, service_id) VALUES (:project_id, :service_id)

-- name: crowded_push_projects
SELECT project_id FROM push_reach WHERE project_id = ANY (:project_ids::text[]) AND service_id <> :service_id
GROUP BY project_id HAVING count(*) >= :most::bigint LIMIT 1
