-- Versions of workers' code, and the queue of each version: runs that are pinned to it. They are not in the other indexes
-- of the queue, where their available_at is in the year 9999, so that no claim reads past them. Only a statement for a
-- wider partition has the condition seq > 0, which is true for every run.
ALTER TABLE workers ADD COLUMN version text COLLATE "C";
ALTER TABLE runs ADD COLUMN worker_version text COLLATE "C";
ALTER TABLE runs ADD COLUMN pinned boolean;
ALTER TABLE runs ADD COLUMN pinned_available_at bigint;
CREATE INDEX runs_pinned_kind ON runs (project_id, worker_version, kind, priority DESC, pinned_available_at, seq)
  WHERE pinned_available_at IS NOT NULL AND seq > 0;
CREATE INDEX runs_pinned_target ON runs
  (project_id, worker_version, coalesce(target, ''), kind, priority DESC, pinned_available_at, seq)
  WHERE pinned_available_at IS NOT NULL;
CREATE INDEX runs_pinned_agent ON runs
  (project_id, worker_version, implementation_kind, coalesce(worker_key, ''), priority DESC, pinned_available_at, seq)
  WHERE pinned_available_at IS NOT NULL AND implementation_kind IS NOT NULL AND seq > 0;
CREATE INDEX runs_pinned_agent_target ON runs (
  project_id, worker_version, implementation_kind, coalesce(worker_key, ''), coalesce(target, ''), priority DESC,
  pinned_available_at, seq
) WHERE pinned_available_at IS NOT NULL AND implementation_kind IS NOT NULL;
-- Runs that have not ended, by version.
CREATE INDEX runs_by_version ON runs (project_id, worker_version, status, pinned)
  WHERE worker_version IS NOT NULL AND completed_at IS NULL;
