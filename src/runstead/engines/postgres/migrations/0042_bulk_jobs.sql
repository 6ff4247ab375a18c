-- Bulk jobs, and the runs of those that run.
CREATE TABLE bulk_jobs (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  action text NOT NULL,
  status text COLLATE "C" NOT NULL,
  total bigint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  caller bytea NOT NULL,
  filter bytea NOT NULL,
  done bigint NOT NULL,
  failed bigint NOT NULL,
  from_step text,
  created_by text,
  ended_at bigint,
  errors bytea
);
CREATE INDEX bulk_jobs_by_project ON bulk_jobs (project_id, created_at);
CREATE INDEX bulk_jobs_running ON bulk_jobs (updated_at, id) WHERE ended_at IS NULL;
CREATE TABLE bulk_job_parts (
  job_id text COLLATE "C" NOT NULL,
  start bigint NOT NULL,
  runs bytea NOT NULL,
  PRIMARY KEY (job_id, start)
);
