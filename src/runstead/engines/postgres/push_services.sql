-- name: register_push_service
INSERT INTO push_services ({service})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $15, NULL)
ON CONFLICT (registrant, service_key) DO UPDATE SET
  service_name = excluded.service_name, scope_kind = excluded.scope_kind, base_url = excluded.base_url,
  invoke_url = excluded.invoke_url, project_id = excluded.project_id, agent_id = excluded.agent_id,
  version = excluded.version, runtime = excluded.runtime, region = excluded.region,
  capabilities = excluded.capabilities, metadata = excluded.metadata,
  updated_at = excluded.updated_at, last_heartbeat_at = excluded.last_heartbeat_at, disabled_at = NULL,
  silent_at = NULL
RETURNING id

-- name: push_service
SELECT {service}, {reach} FROM push_services WHERE id = $1

-- name: push_services_reaching
SELECT {service}, {reach} FROM push_services
WHERE id = ANY (ARRAY(
  SELECT service_id FROM push_reach WHERE project_id = ANY ($1::text[]) ORDER BY project_id, service_id
))
ORDER BY created_at, id

-- name: push_service_heartbeat
UPDATE push_services SET last_heartbeat_at = $1, updated_at = $1, silent_at = NULL WHERE id = $2 RETURNING 1

-- name: push_services_fell_silent
UPDATE push_services SET silent_at = $1 WHERE id = ANY (ARRAY(
  SELECT id FROM push_services WHERE disabled_at IS NULL AND silent_at IS NULL AND last_heartbeat_at < $2
  ORDER BY last_heartbeat_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)) RETURNING {service}, {reach}

-- name: disable_push_service
UPDATE push_services SET disabled_at = coalesce(disabled_at, $1), updated_at = $1 WHERE id = $2

-- name: drop_reach
DELETE FROM push_reach WHERE service_id = $1

-- name: add_reach
INSERT INTO push_reach (project_id, service_id) SELECT DISTINCT project_id, $1 FROM unnest($2::text[]) AS r (project_id)

-- name: crowded_push_projects
SELECT project_id FROM push_reach WHERE project_id = ANY ($1::text[]) AND service_id <> $2
GROUP BY project_id HAVING count(*) >= $3::bigint LIMIT 1
