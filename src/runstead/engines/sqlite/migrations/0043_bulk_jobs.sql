-- Bulk jobs, and the runs of those that run.
CREATE TABLE bulk_jobs (
  id TEXT NOT NULL PRIMARY KEY,
  project_id TEXT NOT NULL,
  action TEXT NOT NULL,
  status TEXT NOT NULL,
  total INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  caller BLOB NOT NULL,
  filter BLOB NOT NULL,
  done INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  from_step TEXT,
  created_by TEXT,
  ended_at INTEGER,
  errors BLOB
);
CREATE INDEX bulk_jobs_by_project ON bulk_jobs (project_id, created_at);
CREATE INDEX bulk_jobs_running ON bulk_jobs (updated_at, id) WHERE ended_at IS NULL;
CREATE TABLE bulk_job_parts (
  job_id TEXT NOT NULL,
  start INTEGER NOT NULL,
  runs BLOB NOT NULL,
  PRIMARY KEY (job_id, start)
);
