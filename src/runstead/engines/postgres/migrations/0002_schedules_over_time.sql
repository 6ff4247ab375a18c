-- Schedules that fire by themselves. What is stored already is looked at once, and planned from then on (0).
ALTER TABLE schedules
  ADD COLUMN run_at bigint,
  ADD COLUMN max_staleness_seconds bigint,
  ADD COLUMN next_fire_at bigint,
  ADD COLUMN last_skipped_at bigint,
  ADD COLUMN last_skipped_reason text,
  ADD COLUMN skipped_count bigint NOT NULL DEFAULT 0,
  ADD COLUMN last_missed_at bigint,
  ADD COLUMN missed_count bigint NOT NULL DEFAULT 0;
UPDATE schedules SET next_fire_at = 0 WHERE status = 'active' AND completed_at IS NULL;
CREATE INDEX schedules_due ON schedules (next_fire_at, id) WHERE next_fire_at IS NOT NULL;

ALTER TABLE runs
  ADD COLUMN scheduled_at bigint,
  ADD COLUMN missed_since bigint;
-- The runs that a concurrency policy looks at: rows are here only until they end.
CREATE INDEX runs_alive_by_schedule ON runs (schedule_id, seq)
  WHERE schedule_id IS NOT NULL AND status IN ('pending', 'running', 'waiting');
