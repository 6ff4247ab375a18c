-- Versions of workers' code, and the queue of each version: runs that are pinned to it. They are not in the other indexes
-- of the queue, where their available_at is in the year 9999, so that no claim reads past them.
ALTER TABLE workers ADD COLUMN version TEXT;
ALTER TABLE runs ADD COLUMN worker_version TEXT;
ALTER TABLE runs ADD COLUMN pinned INTEGER;
ALTER TABLE runs ADD COLUMN pinned_available_at INTEGER;
CREATE INDEX runs_pinned_kind ON runs (project_id, worker_version, kind, priority DESC, pinned_available_at, seq)
  WHERE pinned_available_at IS NOT NULL;
CREATE INDEX runs_pinned_target ON runs
  (project_id, worker_version, coalesce(target, ''), kind, priority DESC, pinned_available_at, seq)
  WHERE pinned_available_at IS NOT NULL;
CREATE INDEX runs_pinned_agent ON runs
  (project_id, worker_version, implementation_kind, coalesce(worker_key, ''), priority DESC, pinned_available_at, seq)
  WHERE pinned_available_at IS NOT NULL AND implementation_kind IS NOT NULL;
CREATE INDEX runs_pinned_agent_target ON runs (
  project_id, worker_version, implementation_kind, coalesce(worker_key, ''), coalesce(target, ''), priority DESC,
  pinned_available_at, seq
) WHERE pinned_available_at IS NOT NULL AND implementation_kind IS NOT NULL;
-- Runs that have not ended, by version.
CREATE INDEX runs_by_version ON runs (project_id, worker_version, status, pinned, completed_at)
  WHERE worker_version IS NOT NULL AND completed_at IS NULL;
