-- The due runs of each concurrency key. `runs_due_key`, which the previous version reads, is selected by a condition on `seq`:
-- where all runs had one key when they were analysed, PostgreSQL reads the primary key by that condition instead, run by run.
CREATE INDEX runs_due_of_key ON runs (project_id, target, concurrency_key, available_at)
  WHERE concurrency_key IS NOT NULL AND available_at IS NOT NULL AND created_at >= 0;
