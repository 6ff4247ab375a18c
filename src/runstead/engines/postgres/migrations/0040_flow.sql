-- Flow control of runs: keys that few runs have, each with a partial index of its own.
ALTER TABLE runs ADD COLUMN concurrency_key text COLLATE "C";
ALTER TABLE runs ADD COLUMN unique_key text COLLATE "C";
ALTER TABLE runs ADD COLUMN debounce_key text COLLATE "C";
ALTER TABLE runs ADD COLUMN debounce_until bigint;
ALTER TABLE runs ADD COLUMN debounced bigint;
CREATE INDEX runs_unique_key ON runs (project_id, unique_key, coalesce(target, ''), seq) WHERE unique_key IS NOT NULL;
CREATE INDEX runs_debounce_key ON runs (project_id, debounce_key, coalesce(target, ''), seq)
  WHERE debounce_key IS NOT NULL AND status = 'pending' AND attempt = 0;
