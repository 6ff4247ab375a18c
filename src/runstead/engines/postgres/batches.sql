-- name: count_batches
-- Counts only existing batches: any other batch_id is a label. Rows are locked in one order, until the commit.
WITH moved AS MATERIALIZED (
  SELECT m.* FROM unnest(
    $1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
    $9::integer[], $10::integer[]
  ) AS m (project_id, batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled)
  CROSS JOIN LATERAL (
    SELECT FROM batches WHERE id = ANY (ARRAY[m.batch_id]) AND project_id = m.project_id ORDER BY id LIMIT 1
  ) AS b
), counted AS (
  INSERT INTO batch_counts AS c
    (batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled)
  SELECT batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled FROM moved
  ORDER BY batch_id COLLATE "C", slot
  ON CONFLICT (batch_id, slot) DO UPDATE SET
    started_at = least(c.started_at, excluded.started_at),
    pending = c.pending + excluded.pending,
    running = c.running + excluded.running,
    waiting = c.waiting + excluded.waiting,
    completed = c.completed + excluded.completed,
    failed = c.failed + excluded.failed,
    cancelled = c.cancelled + excluded.cancelled
  RETURNING batch_id, slot, pending + running + waiting AS active
)
SELECT m.project_id, m.batch_id, m.slot, c.active FROM counted AS c JOIN moved AS m USING (batch_id, slot)

-- name: open_batch
-- $2: the change of the number of slots with active runs. At 0 the batch is completed for ever.
UPDATE batches SET open_slots = open_slots + $2,
  completed_at = CASE WHEN open_slots + $2 = 0 THEN $3::bigint END
WHERE id = $1 AND completed_at IS NULL

-- name: active_runs_of_batch
-- Locks the oldest active runs of a batch and their active descendants, in the order of seq.
WITH members AS MATERIALIZED (
  SELECT seq, root_seq FROM runs
  WHERE batch_id = ANY (ARRAY[$1::text]) AND project_id = $2 AND status IN ('pending', 'running', 'waiting')
  ORDER BY batch_id, seq LIMIT $3
), parents AS MATERIALIZED (
  SELECT m.* FROM members AS m
  CROSS JOIN LATERAL (SELECT FROM run_families WHERE run_seq = m.seq AND descendants_active > 0 LIMIT 1) AS family
)
SELECT {locked} FROM {runs}
WHERE seq = ANY (ARRAY(
  SELECT seq FROM members
  UNION
  SELECT r.seq FROM parents AS m
  CROSS JOIN LATERAL (
    SELECT seq FROM runs
    WHERE root_seq = ANY (ARRAY[m.root_seq]) AND parent_seq IS NOT NULL
      AND status IN ('pending', 'running', 'waiting') AND strpos(path, '/' || m.seq || '/') > 0
      AND strpos(substr(path, strpos(path, '/' || m.seq || '/')), '~') = 0
    ORDER BY root_seq, seq
  ) AS r
))
ORDER BY seq FOR UPDATE OF runs
