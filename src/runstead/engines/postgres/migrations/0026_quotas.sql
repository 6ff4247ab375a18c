-- How much of the instance each project may use. NULL: the instance's default.
CREATE TABLE project_quotas (
  project_id text PRIMARY KEY,
  requests_per_minute bigint,
  runs_pending bigint,
  events_per_run bigint,
  streams bigint,
  keys bigint,
  members bigint,
  updated_at bigint NOT NULL
);
CREATE INDEX project_quotas_updated ON project_quotas (updated_at, project_id);
