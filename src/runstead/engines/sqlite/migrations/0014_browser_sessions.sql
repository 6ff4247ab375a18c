-- Browsers that are signed in: columns as the fields of runstead.core.identity.browser_session.BrowserSession. `sealed` is the credential
-- under a secret that is not here.
CREATE TABLE browser_sessions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  hash BLOB NOT NULL UNIQUE,
  sealed BLOB NOT NULL,
  identity TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  last_seen_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX browser_sessions_by_identity ON browser_sessions (identity, seq);
CREATE INDEX browser_sessions_by_expiry ON browser_sessions (expires_at);
