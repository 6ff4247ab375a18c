-- name: lock_conversations
SELECT id, message_count FROM conversations WHERE id = ANY ($1::text[]) AND status <> 'deleted' ORDER BY id FOR UPDATE

-- name: live_conversations
SELECT id FROM conversations WHERE id = ANY ($1::text[]) AND status <> 'deleted' ORDER BY id

-- name: count_messages
UPDATE conversations AS c SET message_count = moved.count, last_message_at = moved.at,
  updated_at = greatest(c.updated_at, moved.at), current_node = moved.node
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS moved (id, count, at, node)
CROSS JOIN LATERAL (SELECT ctid, tableoid FROM conversations WHERE id = moved.id LIMIT 1) AS found
WHERE c.ctid = found.ctid AND c.tableoid = found.tableoid

-- name: add_messages
INSERT INTO messages ({message})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
  $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[])
