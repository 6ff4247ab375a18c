-- Only the retention of the audit log deletes entries. It stores a time in `audit_expiry`, deletes entries that are
-- older, and removes the time, in one transaction. Without that time every DELETE is refused.
CREATE TABLE audit_expiry (before INTEGER NOT NULL) STRICT;
CREATE TRIGGER audit_entries_are_deleted_by_retention BEFORE DELETE ON audit_entries
WHEN NOT EXISTS (SELECT 1 FROM audit_expiry WHERE before > OLD.at)
BEGIN
  SELECT RAISE(ABORT, 'entries of the audit log are deleted by its retention only');
END;

-- Users whom an admin removed: claims of tokens and groups of a provider give them no access to the project. A user who
-- becomes a member again has no row.
CREATE TABLE removed_members (
  project_id TEXT NOT NULL REFERENCES projects (id),
  user_id TEXT NOT NULL,
  removed_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, user_id)
) STRICT, WITHOUT ROWID;
