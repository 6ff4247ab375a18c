-- name: events_between
SELECT {event} FROM run_events
WHERE id > ? AND id <= ? AND flags & ? = 0 ORDER BY id LIMIT ?

-- name: events_of_types
-- No index knows types: rows are passed over one by one, here rather than in Python, until there are enough.
SELECT {event} FROM run_events
WHERE id > ? AND id <= ? AND flags & ? = 0 AND type IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?

-- name: events_backwards
SELECT {event} FROM run_events
WHERE id > ? AND id < ? AND flags & ? = 0 ORDER BY id DESC LIMIT ?

-- name: events_of_types_backwards
SELECT {event} FROM run_events
WHERE id > ? AND id < ? AND flags & ? = 0 AND type IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT ?

-- name: event
SELECT {event} FROM run_events WHERE id = ? AND flags & ? = 0

-- name: event_counts
SELECT type, count(*) AS count, min(created_at) AS first_at, max(created_at) AS last_at FROM run_events
WHERE id > ? AND id <= ? AND flags & ? = 0 GROUP BY type ORDER BY count DESC, type

-- name: event_keys
SELECT key, digest FROM run_event_keys WHERE run_seq = ? AND key IN (SELECT value FROM json_each(?))

-- name: add_event_key
INSERT INTO run_event_keys (run_seq, key, event_id, digest) VALUES (?, ?, ?, ?)

-- name: delete_events
DELETE FROM run_events WHERE id > ? AND id <= ?

-- name: delete_event_keys
DELETE FROM run_event_keys WHERE run_seq = ?
