-- Targets of a project as workers describe them, and which workers serve them.
CREATE TABLE targets (
  project_id text COLLATE "C" NOT NULL,
  target text COLLATE "C" NOT NULL,
  description text,
  input_schema bytea,
  output_schema bytea,
  version text,
  validate_input boolean NOT NULL,
  registered_at bigint NOT NULL,
  PRIMARY KEY (project_id, target)
);
CREATE TABLE worker_targets (
  worker_id text COLLATE "C" NOT NULL,
  target text COLLATE "C" NOT NULL,
  project_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (project_id, worker_id, target)
);
CREATE INDEX worker_targets_by_target ON worker_targets (project_id, target, worker_id);
