-- name: delete_message
DELETE FROM messages WHERE conversation_id = $1 AND run_seq = $2 RETURNING id

-- name: orphan_messages
UPDATE messages SET parent_id = NULL WHERE conversation_id = $1 AND parent_id = ANY ($2::text[])

-- name: newest_message_stands
UPDATE conversations SET current_node =
  (SELECT id FROM messages WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 1)
WHERE id = $1

-- name: count_messages
UPDATE conversations AS c SET message_count = moved.count, last_message_at = moved.at,
  updated_at = greatest(c.updated_at, moved.at), current_node = moved.node
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS moved (id, count, at, node)
CROSS JOIN LATERAL (SELECT ctid FROM conversations WHERE id = moved.id LIMIT 1) AS found
WHERE c.ctid = found.ctid

-- name: add_messages
INSERT INTO messages ({message})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
  $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[])

-- name: message_by_key
SELECT {message} FROM messages WHERE conversation_id = $1 AND idempotency_key = $2

-- name: parent_message
(SELECT id FROM messages WHERE id = ANY (ARRAY[$2::text]) AND conversation_id = $1 ORDER BY id LIMIT 1)
UNION ALL
(SELECT id FROM messages WHERE conversation_id = $1 AND idempotency_key = $2 LIMIT 1)
LIMIT 1

-- name: messages_after
-- Sizes are known without reading the values.
SELECT {message}, r_seq, r_run_id, r_status, r_latest, r_updated_at, r_metadata
FROM (
  SELECT *, row_number() OVER told AS place,
    sum(coalesce(octet_length(parts), 0) + coalesce(octet_length(metadata), 0) + coalesce(octet_length(outcome), 0)
      + coalesce(octet_length(r_metadata), 0)) OVER told AS bytes
  FROM (
    SELECT m.*, r.seq AS r_seq, r.run_id AS r_run_id, r.status AS r_status, r.latest_event_id AS r_latest,
      r.updated_at AS r_updated_at, r.metadata AS r_metadata
    FROM messages AS m
    LEFT JOIN LATERAL (
      SELECT seq, run_id, status, latest_event_id, updated_at, metadata FROM runs WHERE seq = m.run_seq LIMIT 1
    ) AS r ON true
    WHERE m.conversation_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3
  ) AS page
  WINDOW told AS (ORDER BY seq)
) AS measured
WHERE place = 1 OR bytes <= $4 ORDER BY seq
