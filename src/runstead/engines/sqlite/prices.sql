-- name: count_prices
SELECT count(*), coalesce(max(provider = ?2 AND model = ?3), 0) FROM model_prices WHERE project_id = ?1

-- name: put_price
INSERT INTO model_prices ({price}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (project_id, provider, model) DO UPDATE SET input = excluded.input, output = excluded.output,
  cached = excluded.cached, reasoning = excluded.reasoning, updated_at = excluded.updated_at

-- name: prices
SELECT {price} FROM model_prices WHERE project_id = ? ORDER BY provider, model

-- name: delete_price
DELETE FROM model_prices WHERE project_id = ? AND provider = ? AND model = ?
