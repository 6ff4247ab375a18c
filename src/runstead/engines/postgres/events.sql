-- name: event
SELECT {event} FROM run_events
WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND event_id = $2
  AND flags & 2 = 0

-- name: event_counts
SELECT type, count(*) AS count, min(created_at) AS first_at, max(created_at) AS last_at FROM run_events
WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND flags & 2 = 0
GROUP BY type ORDER BY count DESC, type

-- name: events_after
-- The run's creation time selects the partition. Sizes are known without reading the payloads.
SELECT {event}
FROM (
  SELECT *, row_number() OVER ordered AS place, sum(octet_length(payload)) OVER ordered AS bytes
  FROM (
    SELECT * FROM run_events
    WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND event_id > $2
      AND flags & 2 = 0 AND ($4::text[] IS NULL OR type = ANY ($4))
    ORDER BY event_id LIMIT $3
  ) AS page
  WINDOW ordered AS (ORDER BY event_id)
) AS measured
WHERE place = 1 OR bytes <= $5 ORDER BY event_id

-- name: events_before
SELECT {event}
FROM (
  SELECT *, row_number() OVER ordered AS place, sum(octet_length(payload)) OVER ordered AS bytes
  FROM (
    SELECT * FROM run_events
    WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND event_id < $2
      AND flags & 2 = 0 AND ($4::text[] IS NULL OR type = ANY ($4))
    ORDER BY event_id DESC LIMIT $3
  ) AS page
  WINDOW ordered AS (ORDER BY event_id DESC)
) AS measured
WHERE place = 1 OR bytes <= $5 ORDER BY event_id

-- name: tail
SELECT {event} FROM run_events
WHERE run_created_at = $1 AND run_seq = $2 AND event_id > $3 ORDER BY event_id LIMIT $4

-- name: add_events
INSERT INTO run_events (run_created_at, run_seq, {event})
SELECT * FROM unnest(
  $1::text::bigint[], $2::text::bigint[], $3::text::integer[], $4::text[], $5::bytea[], $6::text::bigint[],
  $7::text::smallint[], $8::text::integer[]
)

-- name: event_keys
SELECT key, digest FROM run_event_keys WHERE run_seq = $1 AND key = ANY ($2::text[])

-- name: add_event_keys
INSERT INTO run_event_keys (run_seq, key, event_id, digest)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::bytea[])
