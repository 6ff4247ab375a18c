-- What ended runs used and came to, summed up by the time of their creation (runstead.core.usage.rollup). A change that ends, moves or
-- deletes a run leaves an entry in its transaction; a loop adds entries to the sums.
CREATE TABLE rollup_entries (
  run_seq bigint NOT NULL,
  version bigint NOT NULL,
  action text COLLATE "C" NOT NULL,
  project_id text COLLATE "C" NOT NULL,
  facts bytea NOT NULL,
  PRIMARY KEY (run_seq, version, action)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
-- Names may be missing, keys may not: each begins with a colon, or is empty where there is none.
CREATE TABLE usage_rollups (
  project_id text COLLATE "C" NOT NULL,
  way text COLLATE "C" NOT NULL,
  width bigint NOT NULL,
  bucket bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  provider text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  runs bigint NOT NULL,
  input_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  cached_input_tokens bigint NOT NULL,
  reasoning_tokens bigint NOT NULL,
  PRIMARY KEY (project_id, way, width, bucket, name, provider, model)
) WITH (fillfactor = 80);
CREATE TABLE activity_rollups (
  project_id text COLLATE "C" NOT NULL,
  way text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  width bigint NOT NULL,
  bucket bigint NOT NULL,
  kind text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL,
  runs bigint NOT NULL,
  durations bytea NOT NULL,
  PRIMARY KEY (project_id, way, name, width, bucket, kind, status)
) WITH (fillfactor = 80);
-- Runs that ended before there were entries: those below this number are not added yet, but for those that had not ended.
-- No row: all are.
CREATE TABLE rollup_backlog (below_seq bigint PRIMARY KEY);
CREATE TABLE rollup_open (run_seq bigint PRIMARY KEY);
INSERT INTO rollup_backlog SELECT max(seq) + 1 FROM runs HAVING count(*) > 0;
INSERT INTO rollup_open
SELECT seq FROM runs WHERE status IN ('pending', 'running', 'waiting') AND status <> 'completed';
