-- The index by which lists of runs are found; see runstead.engines.sql.run_index. The loop fills it, block by block.
CREATE TABLE run_index (
  version bigint NOT NULL,
  mark bigint NOT NULL, -- runs with a lower seq are indexed
  noted bigint NOT NULL -- changes of runs with a lower seq are noted
) WITH (fillfactor = 10);
INSERT INTO run_index VALUES (0, 0, 0);

CREATE TABLE run_terms (
  block integer NOT NULL,
  term bytea NOT NULL,
  runs bytea NOT NULL,
  PRIMARY KEY (block, term)
);

-- Runs that are not in the index as they are now. named: more than their state may have changed. Nothing is unique here:
-- a row that another transaction is about to take away stands for nothing.
CREATE TABLE run_index_changes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  seq bigint NOT NULL,
  named boolean NOT NULL
);
CREATE FUNCTION note_run_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO run_index_changes (seq, named) SELECT OLD.seq, TG_ARGV[0]::boolean FROM run_index WHERE noted > OLD.seq;
  RETURN NULL;
END
$$;
CREATE TRIGGER run_index_named AFTER UPDATE OF title, labels, project_id ON runs FOR EACH ROW
WHEN ((OLD.title, OLD.labels, OLD.project_id) IS DISTINCT FROM (NEW.title, NEW.labels, NEW.project_id))
EXECUTE FUNCTION note_run_change('true');
CREATE TRIGGER run_index_ended AFTER UPDATE OF completed_at ON runs FOR EACH ROW
WHEN (OLD.completed_at IS DISTINCT FROM NEW.completed_at) EXECUTE FUNCTION note_run_change('false');
CREATE TRIGGER run_index_deleted AFTER DELETE ON runs FOR EACH ROW EXECUTE FUNCTION note_run_change('false');
