ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- The queue: rows leave these indexes while no worker may claim them. In each of the lines that they make, the highest
-- priority stands first; which priorities there are is found by a step from one to the next.
DROP INDEX runs_queue_kind;
DROP INDEX runs_queue_target;
DROP INDEX runs_queue_agent;
DROP INDEX runs_push;
CREATE INDEX runs_queue_kind ON runs (project_id, kind, priority DESC, available_at, seq)
  WHERE available_at IS NOT NULL;
CREATE INDEX runs_queue_target ON runs (project_id, coalesce(target, ''), kind, priority DESC, available_at, seq)
  WHERE available_at IS NOT NULL;
CREATE INDEX runs_queue_agent ON runs
  (project_id, implementation_kind, coalesce(worker_key, ''), priority DESC, available_at, seq)
  WHERE available_at IS NOT NULL AND implementation_kind IS NOT NULL;
CREATE INDEX runs_queue_agent_target ON runs
  (project_id, implementation_kind, coalesce(worker_key, ''), coalesce(target, ''), priority DESC, available_at, seq)
  WHERE available_at IS NOT NULL AND implementation_kind IS NOT NULL;
CREATE INDEX runs_push ON runs
  (project_id, push_service_id, coalesce(target, ''), priority DESC, available_at, seq)
  WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL;

-- The referee asks project by project.
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (project_id, due_at, seq) WHERE due_at IS NOT NULL;

-- What counts for the limits on running runs: rows are here while somebody works on them.
CREATE INDEX runs_running ON runs (project_id, coalesce(target, ''))
  WHERE status = 'running' AND available_at IS NULL;

CREATE TABLE concurrency_limits (
  project_id TEXT NOT NULL,
  target TEXT NOT NULL, -- '' for the whole project
  max_running INTEGER NOT NULL,
  PRIMARY KEY (project_id, target)
) WITHOUT ROWID;
