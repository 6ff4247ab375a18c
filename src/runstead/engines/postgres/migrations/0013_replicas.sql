-- The servers of this store: each writes every ten seconds that it is there. Columns as the fields of
-- runstead.core.replica.Replica.
CREATE TABLE replicas (
  id text COLLATE "C" PRIMARY KEY,
  host text NOT NULL,
  pid bigint NOT NULL,
  url text NOT NULL,
  version text NOT NULL,
  started_at bigint NOT NULL,
  seen_at bigint NOT NULL
) WITH (fillfactor = 10);
