-- What tokens of models cost: columns as the fields of runstead.core.usage.price.Price, in millionths of the currency per million tokens.
CREATE TABLE model_prices (
  project_id text COLLATE "C" NOT NULL,
  provider text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  input bigint NOT NULL,
  output bigint NOT NULL,
  cached bigint,
  reasoning bigint,
  updated_at bigint NOT NULL,
  PRIMARY KEY (project_id, provider, model)
);
