-- name: add_conversation
INSERT INTO conversations
  (id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
   message_count, last_message_at, created_by, archived_at, current_node)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: conversation
SELECT {conversation} FROM conversations WHERE id = ?

-- name: conversations_page
SELECT {conversation} FROM conversations
WHERE project_id = ?1 AND status <> 'deleted' AND (?2 IS NULL OR status = ?2)
  AND seq < ?3
ORDER BY seq DESC LIMIT ?4

-- name: change_conversation
UPDATE conversations SET project_id = ?2, personal = ?3, updated_at = ?4, status = ?5, title = ?6, summary = ?7,
  archived_at = ?8
WHERE id = ?1

-- name: conversation_lives
SELECT 1 FROM conversations WHERE id = ? AND status <> 'deleted'

-- name: runs_of_conversation
SELECT runs.seq, runs.parent_seq, runs.run_id FROM messages JOIN runs ON runs.seq = messages.run_seq
WHERE messages.conversation_id = ?
