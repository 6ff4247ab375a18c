-- name: webhooks_by_id
SELECT {webhook} FROM webhooks WHERE id = ANY (:ids::text[])

-- name: webhooks_page
SELECT {webhook} FROM webhooks WHERE project_id = :project_id ORDER BY created_at, id LIMIT :limit

-- name: enabled_webhooks
SELECT {webhook} FROM webhooks WHERE project_id = ANY (:project_ids::text[]) AND disabled_at IS NULL

-- name: projects_with_webhooks
SELECT DISTINCT project_id FROM webhooks WHERE disabled_at IS NULL LIMIT :limit

-- name: delete_deliveries
DELETE FROM webhook_deliveries WHERE webhook_id = :webhook_id

-- name: add_delivery
INSERT INTO webhook_deliveries ({new_delivery}) VALUES ({:new_delivery}) RETURNING seq

-- name: add_deliveries
-- postgres
INSERT INTO webhook_deliveries
  (id, webhook_id, project_id, event_type, run_id, created_at, expires_at, payload, status, next_attempt_at, attempts,
   last_status, last_error, delivered_at, duration_ms)
SELECT * FROM unnest(
  :id::text[], :webhook_id::text[], :project_id::text[], :event_type::text[], :run_id::text[], :created_at::bigint[],
  :expires_at::bigint[], :payload::bytea[], :status::text[], :next_attempt_at::bigint[], :attempts::bigint[],
  :last_status::bigint[], :last_error::text[], :delivered_at::bigint[], :duration_ms::bigint[]
)

-- name: delivery | lock_delivery
SELECT {delivery} FROM webhook_deliveries
WHERE id = ANY (ARRAY[:id::text]) AND webhook_id = :webhook_id ORDER BY id{| FOR UPDATE}

-- name: deliveries_page
SELECT {delivery_without_payload} FROM webhook_deliveries
WHERE webhook_id = :webhook_id AND project_id = :project_id
  AND seq < coalesce(:before::bigint, 9223372036854775807) AND (:status::text IS NULL OR status = :status)
ORDER BY seq DESC LIMIT :limit

-- name: due_deliveries
-- Steps from one webhook to the next within the index, however many deliveries each has. Of each webhook its earliest
-- ones. `:held` has a project's id for each of its attempts in progress; projects with fewer attempts come first.
-- postgres
-- The shares are read without locks; rows that another replica holds are skipped, and rows are checked again once locked.
WITH RECURSIVE steps (webhook_id) AS (
  (SELECT webhook_id FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL ORDER BY webhook_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.webhook_id FROM webhook_deliveries AS d
          WHERE d.next_attempt_at IS NOT NULL AND d.webhook_id > steps.webhook_id ORDER BY d.webhook_id LIMIT 1)
  FROM steps WHERE steps.webhook_id IS NOT NULL
), due AS MATERIALIZED (
  SELECT share.id, share.seq, share.next_attempt_at, w.held + row_number() OVER (
    PARTITION BY w.project_id ORDER BY share.next_attempt_at, share.seq
  ) AS turn FROM steps
  CROSS JOIN LATERAL (
    SELECT id, project_id, (SELECT count(*) FROM unnest(:held::text[]) AS h (id) WHERE h.id = project_id) AS held
    FROM webhooks
    WHERE id = ANY (ARRAY[steps.webhook_id]) AND disabled_at IS NULL AND id <> ALL (:busy::text[]) ORDER BY id LIMIT 1
  ) AS w
  CROSS JOIN LATERAL (
    SELECT d.id, d.seq, d.next_attempt_at FROM webhook_deliveries AS d
    WHERE d.webhook_id = w.id AND d.next_attempt_at <= :now::bigint
    ORDER BY d.next_attempt_at, d.seq LIMIT :per_webhook::bigint
  ) AS share
), chosen AS MATERIALIZED (
  SELECT id FROM due WHERE turn <= :per_project::bigint ORDER BY turn, next_attempt_at, seq LIMIT :limit::bigint
)
SELECT {d.delivery} FROM chosen
CROSS JOIN LATERAL (
  SELECT * FROM webhook_deliveries AS locked
  WHERE locked.id = ANY (ARRAY[chosen.id]) AND locked.next_attempt_at <= :now::bigint ORDER BY locked.id
  FOR UPDATE SKIP LOCKED
) AS d
ORDER BY d.next_attempt_at, d.seq
-- sqlite
WITH RECURSIVE steps (webhook_id) AS (
  SELECT min(webhook_id) FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(d.webhook_id) FROM webhook_deliveries AS d
          WHERE d.next_attempt_at IS NOT NULL AND d.webhook_id > steps.webhook_id)
  FROM steps WHERE steps.webhook_id IS NOT NULL
), due AS (
  SELECT d.seq, d.next_attempt_at,
    (SELECT count(*) FROM json_each(:held) WHERE value = w.project_id)
    + row_number() OVER (PARTITION BY w.project_id ORDER BY d.next_attempt_at, d.seq) AS turn
  FROM steps
  CROSS JOIN webhooks AS w ON w.id = steps.webhook_id
  CROSS JOIN webhook_deliveries AS d ON d.seq IN (
    SELECT share.seq FROM webhook_deliveries AS share
    WHERE share.webhook_id = w.id AND share.next_attempt_at <= :now
    ORDER BY share.next_attempt_at, share.seq LIMIT :per_webhook
  )
  WHERE w.disabled_at IS NULL AND w.id NOT IN (SELECT value FROM json_each(:busy))
), chosen AS (
  SELECT seq FROM due WHERE turn <= :per_project ORDER BY turn, next_attempt_at, seq LIMIT :limit
)
SELECT {d.delivery} FROM chosen CROSS JOIN webhook_deliveries AS d ON d.seq = chosen.seq ORDER BY d.next_attempt_at, d.seq

-- name: lease_deliveries
UPDATE webhook_deliveries SET attempts = attempts + 1, next_attempt_at = :until WHERE id = ANY (:ids::text[])

-- name: prune_deliveries
DELETE FROM webhook_deliveries WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM webhook_deliveries WHERE created_at < :created_before::bigint
    AND (next_attempt_at IS NULL OR next_attempt_at < :attempt_before::bigint) LIMIT :limit FOR UPDATE SKIP LOCKED
)) AND created_at < :created_before::bigint AND (next_attempt_at IS NULL OR next_attempt_at < :attempt_before::bigint)
