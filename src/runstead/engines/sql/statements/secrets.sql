-- name: page_of_signing_keys_pem
SELECT kid AS "row", pem AS value FROM signing_keys WHERE kid > :after AND pem IS NOT NULL ORDER BY kid LIMIT :limit

-- name: replace_signing_keys_pem
UPDATE signing_keys SET pem = :new WHERE kid = :row AND pem = :old

-- name: page_of_triggers_secret
SELECT id AS "row", secret AS value FROM triggers WHERE id > :after AND secret IS NOT NULL ORDER BY id LIMIT :limit

-- name: replace_triggers_secret
-- postgres
-- The row is found in a subquery, which leaves PostgreSQL one plan.
UPDATE triggers SET secret = :new
WHERE ctid = ANY (ARRAY(SELECT ctid FROM triggers WHERE id = ANY (ARRAY[:row::text]) ORDER BY id))
  AND id || '' = :row AND secret = :old
-- sqlite
UPDATE triggers SET secret = :new WHERE id = :row AND secret = :old

-- name: page_of_input_secrets_secrets
SELECT request_id AS "row", secrets AS value FROM input_secrets WHERE request_id > :after ORDER BY request_id LIMIT :limit

-- name: replace_input_secrets_secrets
UPDATE input_secrets SET secrets = :new WHERE request_id = :row AND secrets = :old

-- name: page_of_webhooks_secret | page_of_webhooks_old_secret
SELECT id AS "row", {secret|old_secret} AS value FROM webhooks
WHERE id > :after AND {secret|old_secret} IS NOT NULL ORDER BY id LIMIT :limit

-- name: replace_webhooks_secret | replace_webhooks_old_secret
UPDATE webhooks SET {secret|old_secret} = :new WHERE id = :row AND {secret|old_secret} = :old
