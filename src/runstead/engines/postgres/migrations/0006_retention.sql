-- What a run that is gone said of the message that it filled.
ALTER TABLE messages ADD COLUMN outcome bytea;

-- Runs that retention deleted, whose events are still in their partition: nobody finds them there. They leave with the
-- partition, in one piece.
CREATE TABLE run_leftovers (
  run_created_at bigint NOT NULL,
  run_seq bigint NOT NULL,
  PRIMARY KEY (run_created_at, run_seq)
);

-- Large values are compressed by PostgreSQL itself: with lz4, which costs the least, where this server has it.
DO $$
DECLARE part record;
BEGIN
  IF EXISTS (SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
    FOR part IN SELECT 'run_events'::regclass AS name
      UNION ALL SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'run_events'::regclass
    LOOP
      EXECUTE format('ALTER TABLE %s ALTER COLUMN payload SET COMPRESSION lz4', part.name);
    END LOOP;
    ALTER TABLE runs ALTER COLUMN config SET COMPRESSION lz4, ALTER COLUMN input SET COMPRESSION lz4,
      ALTER COLUMN output SET COMPRESSION lz4, ALTER COLUMN logs SET COMPRESSION lz4,
      ALTER COLUMN request_snapshot SET COMPRESSION lz4;
    ALTER TABLE messages ALTER COLUMN parts SET COMPRESSION lz4;
  END IF;
END $$;
