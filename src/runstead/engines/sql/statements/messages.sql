-- name: next_message
-- The number of a new message in its conversation, which is its newest from now on.
UPDATE conversations SET message_count = message_count + 1, last_message_at = :now, current_node = :message_id,
  updated_at = CASE WHEN updated_at < :now THEN :now ELSE updated_at END
WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM conversations WHERE id = ANY (ARRAY[:conversation_id::text]) AND status <> 'deleted' ORDER BY id
)) AND id || '' = :conversation_id
RETURNING message_count

-- name: add_message
INSERT INTO messages ({message}) VALUES ({:message})

-- name: message_by_key
SELECT {message} FROM messages WHERE conversation_id = :conversation_id AND idempotency_key = :key

-- name: parent_message
SELECT id FROM (
  SELECT id FROM messages WHERE id = ANY (ARRAY[:ref::text]) AND conversation_id = :conversation_id ORDER BY id LIMIT 1
) AS by_id
UNION ALL
SELECT id FROM (
  SELECT id FROM messages WHERE conversation_id = :conversation_id AND idempotency_key = :ref LIMIT 1
) AS by_key
LIMIT 1

-- name: messages_after
-- As many as have `:bytes_max` bytes of large values together, and one at least.
-- postgres
-- Sizes are found without reading values.
SELECT {message}, r_seq, r_run_id, r_status, r_latest_event_id, r_updated_at, r_metadata
FROM (
  SELECT *, row_number() OVER page_order AS place,
    sum(coalesce(octet_length(parts), 0) + coalesce(octet_length(metadata), 0) + coalesce(octet_length(outcome), 0)
      + coalesce(octet_length(r_metadata), 0)) OVER page_order AS bytes
  FROM (
    SELECT m.*, r.seq AS r_seq, r.run_id AS r_run_id, r.status AS r_status, r.latest_event_id AS r_latest_event_id,
      r.updated_at AS r_updated_at, r.metadata AS r_metadata
    FROM messages AS m
    LEFT JOIN LATERAL (
      SELECT seq, run_id, status, latest_event_id, updated_at, metadata FROM runs WHERE seq = m.run_seq LIMIT 1
    ) AS r ON true
    WHERE m.conversation_id = :conversation_id AND m.seq > :after ORDER BY m.seq LIMIT :limit
  ) AS page
  WINDOW page_order AS (ORDER BY seq)
) AS measured
WHERE place = 1 OR bytes <= :bytes_max ORDER BY seq
-- sqlite
-- Rows are read until they are too large together; `:bytes_max` is PostgreSQL's.
SELECT {m.message}, r.seq AS r_seq, r.run_id AS r_run_id, r.status AS r_status,
  r.latest_event_id AS r_latest_event_id, r.updated_at AS r_updated_at, r.metadata AS r_metadata
FROM messages AS m LEFT JOIN runs AS r ON r.seq = m.run_seq
WHERE m.conversation_id = :conversation_id AND m.seq > :after ORDER BY m.seq LIMIT :limit

-- name: delete_message
DELETE FROM messages WHERE conversation_id = :conversation_id AND run_seq = :run_seq RETURNING id

-- name: orphan_messages
UPDATE messages SET parent_id = NULL WHERE conversation_id = :conversation_id AND parent_id = ANY (:ids::text[])

-- name: update_newest_message
UPDATE conversations SET current_node =
  (SELECT id FROM messages WHERE conversation_id = :conversation_id ORDER BY seq DESC LIMIT 1)
WHERE id = :conversation_id
