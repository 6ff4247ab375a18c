-- What a service reaches is read from this index alone, in its order: else a look at all of the primary key costs as much as
-- long as there are few.
DROP INDEX push_reach_by_service;
CREATE INDEX push_reach_by_service ON push_reach (service_id, project_id);
