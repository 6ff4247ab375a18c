-- run_id: the run whose push service created the conversation with the token of that run.
ALTER TABLE conversations ADD COLUMN run_id TEXT;
-- require_attempt: whether workers must prove with every write that their attempt is the current one.
ALTER TABLE projects ADD COLUMN require_attempt INTEGER NOT NULL DEFAULT 0;
