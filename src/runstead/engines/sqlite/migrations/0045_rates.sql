-- Rates of targets, and their buckets that are not full: `missing` parts at the time `at`. `empty_until`: when the next token
-- comes; null if there is one.
ALTER TABLE concurrency_limits ADD COLUMN rate_limit INTEGER;
ALTER TABLE concurrency_limits ADD COLUMN rate_period_seconds INTEGER;
ALTER TABLE concurrency_limits ADD COLUMN rate_per_key INTEGER;
CREATE TABLE rate_buckets (
  project_id TEXT NOT NULL,
  target TEXT NOT NULL,
  key TEXT NOT NULL,
  missing INTEGER NOT NULL,
  at INTEGER NOT NULL,
  empty_until INTEGER,
  full_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, target, key)
);
CREATE INDEX rate_buckets_full ON rate_buckets (project_id, full_at);
CREATE INDEX rate_buckets_empty ON rate_buckets (project_id, target, empty_until) WHERE empty_until IS NOT NULL;
