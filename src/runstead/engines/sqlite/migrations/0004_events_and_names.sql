-- Where a paused run stood in the queue.
ALTER TABLE runs ADD COLUMN paused_available_at INTEGER;

-- The order of a family's events: in the family of root_seq, the events first..last of a run are those at the
-- positions start, start + 1, … A root without descendants has no rows: its positions are its event ids, after what
-- stands here from descendants that were deleted.
CREATE TABLE family_log (
  root_seq INTEGER NOT NULL,
  start INTEGER NOT NULL,
  run_seq INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY (root_seq, start)
) WITHOUT ROWID;

-- Families that are there already: by time, and within a run never against its own order. One row for each stretch
-- in which a run's events follow one another.
INSERT INTO family_log (root_seq, start, run_seq, first, last)
WITH members AS (
  SELECT seq, coalesce(root_seq, seq) AS root_seq FROM runs
  WHERE parent_seq IS NOT NULL OR descendants_total > 0
),
timed AS (
  SELECT m.root_seq, m.seq, e.id, e.id & 16777215 AS event_id,
    max(e.created_at) OVER (PARTITION BY m.seq ORDER BY e.id) AS at
  FROM members m JOIN run_events e ON e.id > m.seq * 16777216 AND e.id < (m.seq + 1) * 16777216
),
placed AS (
  SELECT root_seq, seq, event_id, row_number() OVER (PARTITION BY root_seq ORDER BY at, id) AS position FROM timed
)
SELECT root_seq, min(position), seq, min(event_id), max(event_id) FROM placed
GROUP BY root_seq, seq, position - event_id;

-- Events that came with an idempotency_key, and a digest of what they said.
CREATE TABLE run_event_keys (
  run_seq INTEGER NOT NULL,
  key TEXT NOT NULL,
  event_id INTEGER NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (run_seq, key)
) WITHOUT ROWID;
