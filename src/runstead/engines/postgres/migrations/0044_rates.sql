-- Rates of targets, and their buckets that are not full: `missing` parts at the time `at`. `empty_until`: when the next token
-- comes; null if there is one.
ALTER TABLE concurrency_limits ADD COLUMN rate_limit bigint;
ALTER TABLE concurrency_limits ADD COLUMN rate_period_seconds bigint;
ALTER TABLE concurrency_limits ADD COLUMN rate_per_key boolean;
CREATE TABLE rate_buckets (
  project_id text COLLATE "C" NOT NULL,
  target text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  missing bigint NOT NULL,
  at bigint NOT NULL,
  empty_until bigint,
  full_at bigint NOT NULL,
  PRIMARY KEY (project_id, target, key)
);
CREATE INDEX rate_buckets_full ON rate_buckets (project_id, full_at);
CREATE INDEX rate_buckets_empty ON rate_buckets (project_id, target, empty_until) WHERE empty_until IS NOT NULL;
