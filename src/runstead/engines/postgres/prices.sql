-- name: count_prices
SELECT count(*), coalesce(bool_or(provider = $2 AND model = $3), false) FROM model_prices WHERE project_id = $1

-- name: put_price
INSERT INTO model_prices ({price}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (project_id, provider, model) DO UPDATE SET input = excluded.input, output = excluded.output,
  cached = excluded.cached, reasoning = excluded.reasoning, updated_at = excluded.updated_at

-- name: prices
SELECT {price} FROM model_prices WHERE project_id = $1 ORDER BY provider, model

-- name: delete_price
DELETE FROM model_prices WHERE project_id = $1 AND provider = $2 AND model = $3 RETURNING true
