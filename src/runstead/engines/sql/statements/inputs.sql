-- name: add_input_request
INSERT INTO input_requests ({new_input_request}) VALUES ({:new_input_request})

-- name: close_input_request
UPDATE input_requests SET status = :status, ended_at = :ended_at, response_id = :response_id, actor_type = :actor_type,
  actor_id = :actor_id, response_values = :response_values, withheld = :withheld, digest = :digest,
  responded_at = :responded_at
WHERE id = :id AND status = 'open'

-- name: input_request
SELECT {input_request} FROM input_requests WHERE id = :id

-- name: input_request_of_call
SELECT {input_request} FROM input_requests WHERE run_seq = :run_seq AND tool_call_id = :tool_call_id

-- name: input_requests_page
SELECT {input_request} FROM input_requests
WHERE conversation_id = :conversation_id AND (:status::text IS NULL OR status = :status) AND seq < :before
ORDER BY seq DESC LIMIT :limit

-- name: input_requests_of_run
SELECT {input_request} FROM input_requests WHERE run_seq = :run_seq ORDER BY seq DESC LIMIT :limit
