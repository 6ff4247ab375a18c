-- name: bus_event
SELECT {bus_event} FROM bus_events WHERE project_id = :project_id AND event_id = :event_id

-- name: add_bus_event
INSERT INTO bus_events ({bus_event}) VALUES ({:bus_event}) ON CONFLICT DO NOTHING

-- name: last_wait_of_event
-- NULL: no run waits for events of this name, and no trigger starts runs with them.
SELECT (SELECT coalesce(max(number), 0) FROM event_waits)
WHERE EXISTS (SELECT 1 FROM event_waits WHERE project_id = :project_id AND name = :name)
  OR EXISTS (SELECT 1 FROM triggers WHERE project_id = :project_id AND event_name = :name AND disabled_at IS NULL)

-- name: event_wait_paths
-- Each distinct path costs one index probe.
WITH RECURSIVE paths (path) AS (
  SELECT min(path) FROM event_waits WHERE project_id = :project_id AND name = :name
  UNION ALL
  SELECT (SELECT min(w.path) FROM event_waits AS w
          WHERE w.project_id = :project_id AND w.name = :name AND w.path > paths.path)
  FROM paths WHERE paths.path IS NOT NULL
)
SELECT path FROM paths WHERE path IS NOT NULL

-- name: event_waits
SELECT {event_wait} FROM event_waits
WHERE project_id = :project_id AND name = :name AND path = :path AND digest = :digest
  AND number > :after AND number <= :last_wait
ORDER BY number LIMIT :limit

-- name: add_event_wait
INSERT INTO event_waits ({new_event_wait}) VALUES ({:new_event_wait})

-- name: drop_event_waits
DELETE FROM event_waits WHERE run_seq = :run_seq

-- name: due_bus_events
SELECT {bus_event} FROM bus_events WHERE due_at <= :now ORDER BY due_at LIMIT :limit

-- name: delay_bus_event
UPDATE bus_events SET due_at = :due_at, resumed = resumed + :resumed, started = started + :started
WHERE project_id = :project_id AND event_id = :event_id AND due_at IS NOT NULL

-- name: finish_bus_event
UPDATE bus_events SET due_at = NULL, data = NULL, resumed = resumed + :resumed, started = started + :started
WHERE project_id = :project_id AND event_id = :event_id

-- name: prune_bus_events
DELETE FROM bus_events WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM bus_events WHERE due_at IS NULL AND kept_until <= :now
  ORDER BY kept_until LIMIT :limit FOR UPDATE SKIP LOCKED
))
