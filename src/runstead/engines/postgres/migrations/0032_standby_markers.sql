-- Each session that looks up the primary's WAL position first writes a row here. A standby that has the row follows the
-- history of that primary, also after a failover: a position alone would not show that.
CREATE TABLE standby_markers (
  id text COLLATE "C" PRIMARY KEY,
  written_at bigint NOT NULL
);
