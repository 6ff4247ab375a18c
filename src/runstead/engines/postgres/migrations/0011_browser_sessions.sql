-- Browsers that are signed in: columns as the fields of runstead.core.identity.browser_session.BrowserSession. `sealed` is the credential
-- under a secret that is not here.
CREATE TABLE browser_sessions (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  hash bytea NOT NULL UNIQUE,
  sealed bytea NOT NULL,
  identity text COLLATE "C" NOT NULL,
  user_agent text NOT NULL,
  created_at bigint NOT NULL,
  last_seen_at bigint NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX browser_sessions_by_identity ON browser_sessions (identity, seq);
CREATE INDEX browser_sessions_by_expiry ON browser_sessions (expires_at);
