-- name: lock_conversations
SELECT id, message_count FROM conversations WHERE id = ANY ($1::text[]) AND status <> 'deleted' ORDER BY id FOR UPDATE

-- name: live_conversations
SELECT id FROM conversations WHERE id = ANY ($1::text[]) AND status <> 'deleted' ORDER BY id

-- name: add_conversation
INSERT INTO conversations
  (id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
   message_count, last_message_at, created_by, archived_at, current_node)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
RETURNING seq

-- name: conversation
SELECT {conversation} FROM conversations WHERE id = $1

-- name: lock_conversation
SELECT {conversation} FROM conversations WHERE id = $1 FOR UPDATE

-- name: conversations_page
-- One short scan for each project: a single one over all of them would have to sort.
SELECT page.* FROM (SELECT DISTINCT id FROM unnest($1::text[]) AS named (id)) AS projects
CROSS JOIN LATERAL (
  SELECT {conversation} FROM conversations
  WHERE project_id = projects.id AND status <> 'deleted' AND ($2::text IS NULL OR status = $2) AND seq < $3
  ORDER BY seq DESC LIMIT $4
) AS page
ORDER BY seq DESC LIMIT $4

-- name: change_conversation
UPDATE conversations SET project_id = $2, personal = $3, updated_at = $4, status = $5, title = $6, summary = $7,
  archived_at = $8
WHERE id = $1

-- name: runs_of_conversation
SELECT run.seq FROM messages AS m CROSS JOIN LATERAL (SELECT seq FROM runs WHERE seq = m.run_seq LIMIT 1) AS run
WHERE m.conversation_id = $1
