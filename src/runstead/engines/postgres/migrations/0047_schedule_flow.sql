-- Unique keys and debounces of the runs of schedules (JSON). The concurrency key has a column of its own.
ALTER TABLE schedules ADD COLUMN flow bytea;
