-- How much of the instance each project may use. NULL: the instance's default.
CREATE TABLE project_quotas (
  project_id TEXT PRIMARY KEY,
  requests_per_minute INTEGER,
  runs_pending INTEGER,
  events_per_run INTEGER,
  streams INTEGER,
  keys INTEGER,
  members INTEGER,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX project_quotas_updated ON project_quotas (updated_at, project_id);
