-- name: retention_roots
-- Roots of families, oldest first. `ended`: the family ended before `:before`, and nothing of it is active.
SELECT seq, created_at, coalesce(completed_at < :before AND due_at IS NULL AND coalesce(descendants_active, 0) = 0, false)
  AS ended, coalesce(descendants_total, 0) AS descendants
FROM {runs} WHERE seq > :after AND parent_seq IS NULL ORDER BY seq LIMIT :limit

-- name: retention_family
-- Runs of a family, newest first. `has_message`: the run writes a message of a conversation that is not deleted.
-- postgres
WITH family AS MATERIALIZED (
  (SELECT seq FROM runs WHERE root_seq = ANY (ARRAY[:root_seq::bigint]) AND parent_seq IS NOT NULL
   ORDER BY root_seq DESC, seq DESC LIMIT :limit)
  UNION ALL
  SELECT :root_seq
)
SELECT r.seq, r.run_id, r.status, r.latest_event_id, r.updated_at, r.metadata,
  (SELECT status <> 'deleted' FROM conversations WHERE id = r.conversation_id) IS TRUE
  AND (SELECT true FROM messages WHERE conversation_id = r.conversation_id AND run_seq = r.seq LIMIT 1) IS TRUE
  AS has_message
FROM family CROSS JOIN LATERAL (SELECT * FROM runs WHERE seq = family.seq LIMIT 1) AS r
ORDER BY r.seq DESC LIMIT :limit
-- sqlite
SELECT r.seq, r.run_id, r.status, r.latest_event_id, r.updated_at, r.metadata, EXISTS (
  SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id
  WHERE m.conversation_id = r.conversation_id AND m.run_seq = r.seq AND c.status <> 'deleted'
) AS has_message
FROM (
  SELECT * FROM (
    SELECT seq FROM runs WHERE root_seq = :root_seq AND parent_seq IS NOT NULL ORDER BY seq DESC LIMIT :limit
  )
  UNION ALL SELECT :root_seq
) AS family CROSS JOIN runs r ON r.seq = family.seq
ORDER BY r.seq DESC LIMIT :limit

-- name: lock_retired
SELECT seq, path, conversation_id, project_id, coalesce(artifact_bytes, 0) AS artifact_bytes,
  coalesce(completed_at < :before AND due_at IS NULL AND coalesce(descendants_active, 0) = 0, false) AS ended
FROM {runs} WHERE seq = ANY (:seqs::bigint[]) ORDER BY seq FOR UPDATE OF runs

-- name: lock_conversations_of_runs
SELECT id FROM conversations WHERE id = ANY (:ids::text[]) ORDER BY id FOR UPDATE

-- name: keep_message
UPDATE messages SET run_seq = NULL, parts = :parts, outcome = :outcome
WHERE conversation_id = :conversation_id AND run_seq = :run_seq

-- name: count_retired_descendants
-- postgres
UPDATE run_families SET descendants_total = descendants_total - :count WHERE run_seq = :seq
-- sqlite
UPDATE runs SET descendants_total = descendants_total - :count WHERE seq = :seq
