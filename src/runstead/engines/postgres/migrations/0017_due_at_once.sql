-- What is due next, in whichever project: a look at it costs nothing for projects in which nothing is due. runs_due and
-- runs_push stay, for turns among projects where more is due than one look takes.
-- The planner has no choice between the two: each may be used only by statements that repeat its condition, which holds of
-- every run.
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (project_id, due_at, seq) WHERE due_at IS NOT NULL AND seq > 0;
CREATE INDEX runs_due_at ON runs (due_at, seq) WHERE due_at IS NOT NULL AND version >= 0;
CREATE INDEX runs_push_at ON runs (available_at, seq) WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL;
