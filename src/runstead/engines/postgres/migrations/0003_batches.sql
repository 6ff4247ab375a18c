-- Columns as the fields of runstead.core.batches.batch.Batch, without its counters, and one more. `open_slots`: how many of the rows in
-- batch_counts hold runs that have not ended; where it comes down to none, the batch is complete.
CREATE TABLE batches (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  name text,
  created_by text,
  on_complete bytea,
  cancel_requested_at bigint,
  cancel_reason text,
  completed_at bigint,
  followed_up_at bigint,
  seq bigint GENERATED ALWAYS AS IDENTITY, -- the order of creation
  open_slots integer NOT NULL DEFAULT 0
);
CREATE INDEX batches_by_project ON batches (project_id, seq);
-- Those that need a hand: rows are here only until they had it.
CREATE INDEX batches_cancelling ON batches (seq) WHERE cancel_requested_at IS NOT NULL AND completed_at IS NULL;
CREATE INDEX batches_to_follow_up ON batches (seq)
  WHERE on_complete IS NOT NULL AND completed_at IS NOT NULL AND cancel_requested_at IS NULL AND followed_up_at IS NULL;

-- How many runs of a batch are in which state: a run is counted in the slot of its number, so that runs which end at the
-- same time seldom wait for each other's counters.
CREATE TABLE batch_counts (
  batch_id text COLLATE "C" NOT NULL,
  slot smallint NOT NULL,
  started_at bigint,
  pending integer NOT NULL,
  running integer NOT NULL,
  waiting integer NOT NULL,
  completed integer NOT NULL,
  failed integer NOT NULL,
  cancelled integer NOT NULL,
  PRIMARY KEY (batch_id, slot)
) WITH (fillfactor = 50);
