-- What is due next, in whichever project: a look at it costs nothing for projects in which nothing is due. runs_due and
-- runs_push stay, for turns among projects where more is due than one look takes.
CREATE INDEX runs_due_at ON runs (due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX runs_push_at ON runs (available_at, seq) WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL;
