-- name: add_input_request
INSERT INTO input_requests
  (id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
   status, description, metadata, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)

-- name: close_input_request
UPDATE input_requests SET status = $2, ended_at = $3, response_id = $4, actor_type = $5, actor_id = $6,
  response_values = $7, withheld = $8, digest = $9, responded_at = $10
WHERE id = $1 AND status = 'open'

-- name: input_request
SELECT {request} FROM input_requests WHERE id = $1

-- name: input_request_of_call
SELECT {request} FROM input_requests WHERE run_seq = $1 AND tool_call_id = $2

-- name: input_requests_page
SELECT {request} FROM input_requests WHERE conversation_id = $1 AND ($2::text IS NULL OR status = $2) AND seq < $3
ORDER BY seq DESC LIMIT $4

-- name: input_requests_of_run
SELECT {request} FROM input_requests WHERE run_seq = $1 ORDER BY seq DESC LIMIT $2
