-- Targets of a project as workers describe them, and which workers serve them.
CREATE TABLE targets (
  project_id TEXT NOT NULL,
  target TEXT NOT NULL,
  description TEXT,
  input_schema BLOB,
  output_schema BLOB,
  version TEXT,
  validate_input INTEGER NOT NULL,
  registered_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, target)
);
CREATE TABLE worker_targets (
  worker_id TEXT NOT NULL,
  target TEXT NOT NULL,
  project_id TEXT NOT NULL,
  PRIMARY KEY (project_id, worker_id, target)
) WITHOUT ROWID;
CREATE INDEX worker_targets_by_target ON worker_targets (project_id, target, worker_id);
