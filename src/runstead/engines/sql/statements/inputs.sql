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

-- name: add_input_secrets
INSERT INTO input_secrets (request_id, run_seq, secrets)
SELECT id, run_seq, :secrets FROM input_requests WHERE id = :id

-- name: input_secrets
SELECT secrets FROM input_secrets WHERE request_id = :id

-- name: erase_input_secrets
-- postgres
-- Locked in the order of a rotation. The expression leaves one plan: by run, then sorted.
DELETE FROM input_secrets WHERE request_id = ANY (ARRAY(
  SELECT request_id FROM input_secrets WHERE run_seq = ANY (:run_seqs::bigint[]) ORDER BY request_id || '' FOR UPDATE
))
-- sqlite
DELETE FROM input_secrets WHERE run_seq = ANY (:run_seqs::bigint[])

-- name: input_requests_page
SELECT {input_request} FROM input_requests
WHERE conversation_id = :conversation_id AND (:status::text IS NULL OR status = :status) AND seq < :before
ORDER BY seq DESC LIMIT :limit

-- name: input_requests_of_run
SELECT {input_request} FROM input_requests WHERE run_seq = :run_seq ORDER BY seq DESC LIMIT :limit
