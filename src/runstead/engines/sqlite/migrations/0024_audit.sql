-- The audit log: columns as the fields of runstead.core.audit.AuditEntry. Entries are added and, when they are old,
-- deleted by the retention of the log. They are never changed.
CREATE TABLE audit_entries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
  project_id TEXT NOT NULL, -- '' for an entry that belongs to no project
  at INTEGER NOT NULL,
  actor_kind TEXT NOT NULL,
  actor_id TEXT NOT NULL,
  actor_name TEXT,
  credential_id TEXT,
  address TEXT,
  request_id TEXT,
  action TEXT NOT NULL,
  object_kind TEXT NOT NULL,
  object_id TEXT NOT NULL,
  change BLOB
);
CREATE INDEX audit_entries_by_project ON audit_entries (project_id, at, seq);
CREATE INDEX audit_entries_by_actor ON audit_entries (project_id, actor_id, at, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (project_id, action, at, seq);
CREATE INDEX audit_entries_by_object ON audit_entries (project_id, object_kind, object_id, at, seq);
CREATE INDEX audit_entries_by_age ON audit_entries (at);

CREATE TRIGGER audit_entries_are_never_changed BEFORE UPDATE ON audit_entries
BEGIN
  SELECT RAISE(ABORT, 'entries of the audit log are never changed');
END;
