-- Rates of tokens of models (`rate_unit`; null: of runs), and their buckets that are not full, as in `rate_buckets`. Usage is
-- taken from them in the transaction that stores it, so they are apart from the buckets that claims write.
ALTER TABLE concurrency_limits ADD COLUMN rate_unit text;
CREATE INDEX concurrency_limits_tokens ON concurrency_limits (project_id) WHERE rate_unit = 'tokens';
CREATE TABLE token_buckets (
  project_id text COLLATE "C" NOT NULL,
  target text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  missing bigint NOT NULL,
  at bigint NOT NULL,
  empty_until bigint,
  full_at bigint NOT NULL,
  PRIMARY KEY (project_id, target, key)
);
CREATE INDEX token_buckets_full ON token_buckets (project_id, full_at);
CREATE INDEX token_buckets_empty ON token_buckets (project_id, target, empty_until) WHERE empty_until IS NOT NULL;
