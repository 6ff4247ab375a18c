-- What tokens of models cost: columns as the fields of runstead.core.usage.price.Price, in millionths of the currency per million tokens.
CREATE TABLE model_prices (
  project_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  input INTEGER NOT NULL,
  output INTEGER NOT NULL,
  cached INTEGER,
  reasoning INTEGER,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, provider, model)
) WITHOUT ROWID;
