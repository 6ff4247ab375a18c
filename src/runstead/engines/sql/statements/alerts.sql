-- name: lock_alert_version
SELECT {alert} FROM alerts WHERE id = ANY (ARRAY[:id::text]) AND version = :version ORDER BY id FOR UPDATE

-- name: alerts_page
SELECT {alert} FROM alerts WHERE project_id = :project_id ORDER BY created_at, id LIMIT :limit

-- name: due_alerts
SELECT {alert} FROM alerts WHERE evaluate_at <= :now ORDER BY evaluate_at, id LIMIT :limit

-- name: delete_alert_firings
DELETE FROM alert_firings WHERE alert_id = :alert_id

-- name: add_alert_firing
INSERT INTO alert_firings ({new_alert_firing}) VALUES ({:new_alert_firing})

-- name: end_alert_firing
UPDATE alert_firings SET resolved_at = :resolved_at, resolved_value = :resolved_value WHERE id = :id

-- name: drop_alert_firings
DELETE FROM alert_firings WHERE alert_id = :alert_id AND seq <= (
  SELECT seq FROM alert_firings WHERE alert_id = :alert_id ORDER BY seq DESC LIMIT 1 OFFSET :kept
)

-- name: alert_firings
SELECT {alert_firing} FROM alert_firings
WHERE alert_id = :alert_id AND project_id = :project_id AND seq < coalesce(:before::bigint, 9223372036854775807)
ORDER BY seq DESC LIMIT :limit

-- name: ended_runs
-- Sums by the quarter hour of the runs' creation: at most one for each quarter hour of a day, kind and status.
SELECT status, sum(runs) AS runs FROM activity_rollups
WHERE project_id = :project_id AND way = :way AND name = :name AND width = :width AND bucket >= :since
GROUP BY status

-- name: oldest_pending | oldest_pending_of_target
-- Since when the oldest run of the project could be claimed. Each (kind, priority) in the queue costs one index probe.
WITH RECURSIVE kinds (k) AS (
  SELECT (
    SELECT kind FROM runs
    WHERE project_id = :project_id {|AND coalesce(target, '') = :target} AND available_at IS NOT NULL
    ORDER BY kind LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT kind FROM runs
    WHERE project_id = :project_id {|AND coalesce(target, '') = :target} AND available_at IS NOT NULL AND kind > k
    ORDER BY kind LIMIT 1
  )
  FROM kinds WHERE k IS NOT NULL
), steps (k, step) AS (
  SELECT k, (
    SELECT priority FROM runs
    WHERE project_id = :project_id {|AND coalesce(target, '') = :target} AND kind = k AND available_at IS NOT NULL
    ORDER BY priority DESC LIMIT 1
  )
  FROM kinds WHERE k IS NOT NULL
  UNION ALL
  SELECT k, (
    SELECT priority FROM runs
    WHERE project_id = :project_id {|AND coalesce(target, '') = :target} AND kind = k AND available_at IS NOT NULL
      AND priority < step
    ORDER BY priority DESC LIMIT 1
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT min(head) FROM (
  SELECT (
    SELECT available_at FROM runs
    WHERE project_id = :project_id {|AND coalesce(target, '') = :target} AND kind = k AND priority = step
      AND available_at IS NOT NULL
    ORDER BY available_at, seq LIMIT 1
  ) AS head
  FROM steps WHERE step IS NOT NULL
) AS heads
WHERE head <= :now

-- name: missed_firings
SELECT coalesce(sum(missed_count), 0) FROM schedules WHERE project_id = :project_id

-- name: silent_workers
SELECT count(*) FROM (
  SELECT 1 FROM workers WHERE project_id = :project_id AND silent_at >= :since LIMIT :most
) AS silent

-- name: failed_deliveries
SELECT coalesce(sum(failed_deliveries), 0) FROM webhooks WHERE project_id = :project_id
