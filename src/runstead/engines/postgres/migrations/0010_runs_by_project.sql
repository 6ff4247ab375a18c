-- What lists of one project have for themselves. `-seq` is an order that the primary key does not give: else a list of a
-- small project, or of a rare status, could be read from among all runs. `seq > 0` holds of every run, and only a list
-- says it: else a statement that is prepared while the table is empty could find a run by its id among those of its
-- project.
DROP INDEX runs_by_project;
CREATE INDEX runs_by_project ON runs (project_id, (-seq)) WHERE seq > 0;
DROP INDEX runs_by_status;
CREATE INDEX runs_by_status ON runs (project_id, status, (-seq)) WHERE status <> 'completed';
