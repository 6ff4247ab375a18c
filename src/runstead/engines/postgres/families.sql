-- name: mark_families
UPDATE runs SET familied = true WHERE seq = ANY ($1::bigint[])

-- name: count_families
-- The rows of roots are locked until the commit, so later positions become visible later.
INSERT INTO run_families AS f (run_seq, descendants_total, descendants_active, logged)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS moved (run_seq, total, active, logged)
ORDER BY run_seq
ON CONFLICT (run_seq) DO UPDATE SET
  descendants_total = f.descendants_total + excluded.descendants_total,
  descendants_active = f.descendants_active + excluded.descendants_active,
  logged = f.logged + excluded.logged
RETURNING run_seq, logged

-- name: log_families
-- A range that continues the family's last one extends it. ORDER BY makes all look-ups run before the first write:
-- otherwise each look-up would step over the rows that this statement has just added.
INSERT INTO family_log (root_seq, start, run_seq, first, last)
SELECT s.root_seq, coalesce(e.start, s.start), s.run_seq, s.first, s.last
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[])
  AS s (root_seq, start, run_seq, first, last)
LEFT JOIN LATERAL (
  SELECT * FROM family_log AS l WHERE l.root_seq = s.root_seq AND l.start < s.start ORDER BY l.start DESC LIMIT 1
) AS e ON e.run_seq = s.run_seq AND e.last = s.first - 1 AND e.start + e.last - e.first + 1 = s.start
ORDER BY 1, 2
ON CONFLICT (root_seq, start) DO UPDATE SET last = excluded.last

-- name: family_state
SELECT
  coalesce(
    (SELECT status IN ('completed', 'failed', 'cancelled') AND coalesce(descendants_active, 0) = 0
     FROM {runs} WHERE seq = $1),
    true
  ),
  root.familied, root.latest_event_id,
  (SELECT logged FROM run_families WHERE run_seq = $2)
FROM (SELECT 1) AS always LEFT JOIN runs AS root ON root.seq = $2

-- name: family_events
-- $1 the root, $2 after, $3 max events, $4 max bytes, $5 types, $6 the run and $7 its part of descendants' paths. Sizes
-- are known without reading the payloads. The last column is the number of events found, at most $3 + 1.
SELECT run_id, position, event_id, type, payload, created_at, flags, sequence, found
FROM (
  SELECT *, row_number() OVER ordered AS place, sum(octet_length(payload)) OVER ordered AS bytes, count(*) OVER () AS found
  FROM (
    SELECT r.run_id, l.start + e.event_id - l.first AS position, e.*
    FROM family_log AS l
    CROSS JOIN LATERAL (SELECT run_id, path, created_at FROM runs WHERE seq = l.run_seq LIMIT 1) AS r
    CROSS JOIN LATERAL (
      SELECT event_id, type, payload, created_at, flags, sequence FROM run_events
      WHERE run_created_at = r.created_at AND run_seq = l.run_seq
        AND event_id >= l.first + greatest($2::bigint + 1 - l.start, 0) AND event_id <= l.last
        AND flags & 2 = 0 AND ($5::text[] IS NULL OR type = ANY ($5))
      ORDER BY event_id LIMIT $3::bigint + 1
    ) AS e
    WHERE l.root_seq = $1
      AND l.start >= coalesce((SELECT max(start) FROM family_log WHERE root_seq = $1 AND start <= $2::bigint + 1), 0)
      AND ($7::text IS NULL OR l.run_seq = $6::bigint OR strpos(r.path, $7) > 0)
    ORDER BY l.start, e.event_id LIMIT $3::bigint + 1
  ) AS page
  WINDOW ordered AS (ORDER BY position)
) AS measured
WHERE place <= $3 AND (place = 1 OR bytes <= $4) ORDER BY position

-- name: root_events
-- As family_events, for a root without a family.
SELECT run_id, event_id::bigint AS position, event_id, type, payload, created_at, flags, sequence, found
FROM (
  SELECT *, row_number() OVER ordered AS place, sum(octet_length(payload)) OVER ordered AS bytes, count(*) OVER () AS found
  FROM (
    SELECT r.run_id, e.event_id, e.type, e.payload, e.created_at, e.flags, e.sequence
    FROM runs AS r
    CROSS JOIN LATERAL (
      SELECT * FROM run_events
      WHERE run_created_at = r.created_at AND run_seq = r.seq AND event_id > $2::bigint AND flags & 2 = 0
        AND ($5::text[] IS NULL OR type = ANY ($5))
      ORDER BY event_id LIMIT $3::bigint + 1
    ) AS e
    WHERE r.seq = $1
    ORDER BY e.event_id
  ) AS page
  WINDOW ordered AS (ORDER BY event_id)
) AS measured
WHERE place <= $3 AND (place = 1 OR bytes <= $4) ORDER BY event_id

-- name: family_without_usage | family_with_usage
SELECT seq, path, status IN ('completed', 'failed', 'cancelled'){|, metadata} FROM runs
WHERE seq = $1 AND metadata IS {NULL|NOT NULL}
UNION ALL
(SELECT seq, path, status IN ('completed', 'failed', 'cancelled'){|, metadata} FROM runs
 WHERE root_seq = ANY (ARRAY[$1]) AND parent_seq IS NOT NULL AND metadata IS {NULL|NOT NULL} ORDER BY root_seq, seq)
