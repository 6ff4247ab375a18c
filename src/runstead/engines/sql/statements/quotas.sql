-- name: quota
SELECT {quota} FROM project_quotas WHERE project_id = ANY (ARRAY[:project_id::text]) ORDER BY project_id

-- name: put_quota
INSERT INTO project_quotas ({quota}) VALUES ({:quota})
ON CONFLICT (project_id) DO UPDATE SET requests_per_minute = excluded.requests_per_minute,
  runs_per_minute = excluded.runs_per_minute, runs_pending = excluded.runs_pending,
  events_per_run = excluded.events_per_run, event_bytes_per_run = excluded.event_bytes_per_run,
  artifact_bytes = excluded.artifact_bytes, streams = excluded.streams, keys = excluded.keys, members = excluded.members, updated_at = excluded.updated_at

-- name: quotas_since
SELECT {quota} FROM project_quotas WHERE updated_at >= :updated_at ORDER BY updated_at, project_id

-- name: count_pending
SELECT count(*) FROM (
  SELECT 1 AS one FROM runs WHERE project_id = :project_id AND available_at IS NOT NULL LIMIT :most
) AS waiting

-- name: count_access
SELECT (SELECT count(*) FROM api_keys WHERE project_id = :project_id AND revoked_at IS NULL) AS keys,
  (SELECT count(*) FROM members WHERE project_id = :project_id) AS members
