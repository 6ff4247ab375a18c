-- name: next_message
UPDATE conversations
SET message_count = message_count + 1, last_message_at = ?1, updated_at = max(updated_at, ?1), current_node = ?3
WHERE id = ?2 AND status <> 'deleted' RETURNING message_count

-- name: add_message
INSERT INTO messages ({message})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: message_by_key
SELECT {message} FROM messages WHERE conversation_id = ? AND idempotency_key = ?

-- name: parent_message
SELECT id FROM messages WHERE conversation_id = ?1 AND (id = ?2 OR idempotency_key = ?2)
ORDER BY id = ?2 DESC LIMIT 1

-- name: messages_after
SELECT m.id, m.conversation_id, m.role, m.created_at, m.updated_at, m.seq, m.run_seq, m.parent_id, m.created_by,
  m.idempotency_key, m.digest, m.metadata, m.parts, m.outcome, r.seq, r.run_id, r.status, r.latest_event_id, r.updated_at,
  r.metadata
FROM messages m LEFT JOIN runs r ON r.seq = m.run_seq
WHERE m.conversation_id = ? AND m.seq > ? ORDER BY m.seq LIMIT ?

-- name: delete_message
DELETE FROM messages WHERE conversation_id = ? AND run_seq = ? RETURNING id

-- name: orphan_messages
UPDATE messages SET parent_id = NULL WHERE conversation_id = ? AND parent_id = ?

-- name: newest_message_stands
UPDATE conversations SET current_node =
  (SELECT id FROM messages WHERE conversation_id = ?1 ORDER BY seq DESC LIMIT 1)
WHERE id = ?1
