-- Flow control of runs: keys that few runs have, each with a partial index of its own.
ALTER TABLE runs ADD COLUMN concurrency_key text COLLATE "C";
ALTER TABLE runs ADD COLUMN unique_key text COLLATE "C";
ALTER TABLE runs ADD COLUMN debounce_key text COLLATE "C";
ALTER TABLE runs ADD COLUMN debounce_until bigint;
ALTER TABLE runs ADD COLUMN debounced bigint;
CREATE INDEX runs_unique_key ON runs (project_id, unique_key, coalesce(target, ''), seq) WHERE unique_key IS NOT NULL;
CREATE INDEX runs_debounce_key ON runs (project_id, debounce_key, coalesce(target, ''), seq)
  WHERE debounce_key IS NOT NULL AND status = 'pending' AND attempt = 0;

-- Runs with a concurrency key, in the queue and running. Their `priority` is below those of all other runs, so that claims of
-- others never read them.
CREATE INDEX runs_queue_key ON runs (project_id, target, concurrency_key, priority DESC, available_at, seq)
  WHERE concurrency_key IS NOT NULL AND available_at IS NOT NULL;
CREATE INDEX runs_due_key ON runs (project_id, target, concurrency_key, available_at)
  WHERE concurrency_key IS NOT NULL AND available_at IS NOT NULL AND seq >= 0;
CREATE INDEX runs_running_key ON runs (project_id, target, concurrency_key)
  WHERE concurrency_key IS NOT NULL AND status = 'running' AND available_at IS NULL;
-- The targets that ever had a run with a concurrency key, and the key that was served last.
CREATE TABLE keyed_targets (
  project_id text COLLATE "C" NOT NULL,
  target text COLLATE "C" NOT NULL,
  last_key text COLLATE "C" NOT NULL DEFAULT '',
  PRIMARY KEY (project_id, target)
);
ALTER TABLE concurrency_limits ADD COLUMN max_running_per_key bigint;

-- The flow control of the runs of triggers (JSON) and schedules.
ALTER TABLE triggers ADD COLUMN flow bytea;
ALTER TABLE schedules ADD COLUMN concurrency_key text;
