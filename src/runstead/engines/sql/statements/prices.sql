-- name: count_prices
SELECT count(*) AS total, count(*) FILTER (WHERE provider = :provider AND model = :model) AS same
FROM model_prices WHERE project_id = :project_id

-- name: put_price
INSERT INTO model_prices ({price}) VALUES ({:price})
ON CONFLICT (project_id, provider, model) DO UPDATE SET input = excluded.input, output = excluded.output,
  cached = excluded.cached, reasoning = excluded.reasoning, updated_at = excluded.updated_at

-- name: price
SELECT {price} FROM model_prices WHERE project_id = :project_id AND provider = :provider AND model = :model

-- name: prices
SELECT {price} FROM model_prices WHERE project_id = :project_id ORDER BY provider, model

-- name: delete_price
DELETE FROM model_prices WHERE project_id = :project_id AND provider = :provider AND model = :model RETURNING {price}
