-- name: count_family
UPDATE runs SET descendants_total = descendants_total + ?, descendants_active = descendants_active + ?
WHERE seq IN (SELECT value FROM json_each(?))

-- name: log_family
INSERT INTO family_log (root_seq, start, run_seq, first, last)
SELECT ?1,
  CASE WHEN l.start IS NULL THEN 1
    WHEN l.run_seq = ?2 AND l.last = ?3 - 1 THEN l.start
    ELSE l.start + l.last - l.first + 1 END,
  ?2, ?3, ?4
FROM (SELECT 1) LEFT JOIN (SELECT * FROM family_log WHERE root_seq = ?1 ORDER BY start DESC LIMIT 1) AS l ON TRUE
WHERE TRUE ON CONFLICT (root_seq, start) DO UPDATE SET last = excluded.last

-- name: family_end
SELECT start + last - first, (SELECT max(last) FROM family_log WHERE root_seq = ?1 AND run_seq = ?1)
FROM family_log WHERE root_seq = ?1 ORDER BY start DESC LIMIT 1

-- name: root_without_family
SELECT run_id, latest_event_id FROM runs WHERE seq = ? AND descendants_total = 0

-- name: family_ranges
SELECT l.start, l.run_seq, l.first, l.last, r.run_id, r.path FROM family_log l LEFT JOIN runs r ON r.seq = l.run_seq
WHERE l.root_seq = ?1
  AND l.start >= coalesce((SELECT max(start) FROM family_log WHERE root_seq = ?1 AND start <= ?2 + 1), 0)
ORDER BY l.start

-- name: family_active
SELECT status IN ('completed', 'failed', 'cancelled') AND descendants_active = 0 FROM runs WHERE seq = ?

-- name: usage
SELECT seq, path, status IN ('completed', 'failed', 'cancelled'), metadata IS NOT NULL,
  substr(json_extract(CAST(metadata AS TEXT), '$.provider'), 1, ?3),
  substr(json_extract(CAST(metadata AS TEXT), '$.model'), 1, ?3),
  json_extract(CAST(metadata AS TEXT), '$.inputTokens'),
  json_extract(CAST(metadata AS TEXT), '$.outputTokens'),
  json_extract(CAST(metadata AS TEXT), '$.cachedInputTokens'),
  json_extract(CAST(metadata AS TEXT), '$.reasoningTokens'),
  json_extract(CAST(metadata AS TEXT), '$.usageCaptureStatus')
FROM runs WHERE seq = ?1 OR (root_seq = ?2 AND parent_seq IS NOT NULL)

-- name: delete_family_log
DELETE FROM family_log WHERE root_seq = ?
