-- name: retention_roots
SELECT seq, created_at, completed_at < ?2 AND descendants_active = 0 AND due_at IS NULL, descendants_total
FROM runs WHERE seq > ?1 AND parent_seq IS NULL ORDER BY seq LIMIT ?3

-- name: retention_family
SELECT r.seq, r.run_id, r.status, r.latest_event_id, r.updated_at, r.metadata, EXISTS (
  SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id
  WHERE m.conversation_id = r.conversation_id AND m.run_seq = r.seq AND c.status <> 'deleted'
)
FROM (
  SELECT * FROM (SELECT seq FROM runs WHERE root_seq = ?1 AND parent_seq IS NOT NULL ORDER BY seq DESC LIMIT ?2)
  UNION ALL SELECT ?1
) AS family CROSS JOIN runs r ON r.seq = family.seq
ORDER BY r.seq DESC LIMIT ?2

-- name: keep_message
UPDATE messages SET run_seq = NULL, parts = ?3, outcome = ?4 WHERE conversation_id = ?1 AND run_seq = ?2

-- name: count_fewer
UPDATE runs SET descendants_total = descendants_total - ?2 WHERE seq = ?1
