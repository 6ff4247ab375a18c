-- Columns as the fields of runstead.core.batches.batch.Batch, but for seq, the order of creation.
CREATE TABLE batches (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  project_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  name TEXT,
  created_by TEXT,
  on_complete BLOB,
  cancel_requested_at INTEGER,
  cancel_reason TEXT,
  completed_at INTEGER,
  followed_up_at INTEGER,
  started_at INTEGER,
  pending INTEGER NOT NULL,
  running INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  completed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL
);
CREATE INDEX batches_by_project ON batches (project_id, seq);
-- Those that need a hand: rows are here only until they had it.
CREATE INDEX batches_cancelling ON batches (seq) WHERE cancel_requested_at IS NOT NULL AND completed_at IS NULL;
CREATE INDEX batches_to_follow_up ON batches (seq)
  WHERE on_complete IS NOT NULL AND completed_at IS NOT NULL AND cancel_requested_at IS NULL AND followed_up_at IS NULL;
