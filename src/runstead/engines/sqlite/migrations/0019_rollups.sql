-- What ended runs used and came to, summed up by the time of their creation (runstead.core.usage.rollup). A change that ends, moves or
-- deletes a run leaves an entry in its transaction; a loop adds entries to the sums.
CREATE TABLE rollup_entries (
  run_seq INTEGER NOT NULL,
  version INTEGER NOT NULL,
  action TEXT NOT NULL,
  project_id TEXT NOT NULL,
  facts BLOB NOT NULL,
  PRIMARY KEY (run_seq, version, action)
) WITHOUT ROWID;
-- Names may be missing, keys may not: each begins with a colon, or is empty where there is none.
CREATE TABLE usage_rollups (
  project_id TEXT NOT NULL,
  way TEXT NOT NULL,
  width INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  name TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  runs INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  PRIMARY KEY (project_id, way, width, bucket, name, provider, model)
) WITHOUT ROWID;
CREATE TABLE activity_rollups (
  project_id TEXT NOT NULL,
  way TEXT NOT NULL,
  name TEXT NOT NULL,
  width INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  runs INTEGER NOT NULL,
  durations BLOB NOT NULL,
  PRIMARY KEY (project_id, way, name, width, bucket, kind, status)
) WITHOUT ROWID;
-- Runs that ended before there were entries: those below this number are not added yet, but for those that had not ended.
-- No row: all are.
CREATE TABLE rollup_backlog (below_seq INTEGER PRIMARY KEY);
CREATE TABLE rollup_open (run_seq INTEGER PRIMARY KEY);
INSERT INTO rollup_backlog SELECT max(seq) + 1 FROM runs HAVING count(*) > 0;
INSERT INTO rollup_open SELECT seq FROM runs WHERE status IN ('pending', 'running', 'waiting') AND status <> 'completed';
