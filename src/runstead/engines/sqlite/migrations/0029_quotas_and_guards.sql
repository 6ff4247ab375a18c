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

-- What a run's log and a run's stored artifacts hold, in bytes: NULL is none, and what an older version stored.
ALTER TABLE runs ADD COLUMN event_bytes INTEGER;
ALTER TABLE runs ADD COLUMN artifact_bytes INTEGER;
-- The sum of `artifact_bytes` of a project's runs.
CREATE TABLE artifact_bytes (
  project_id TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE project_quotas ADD COLUMN runs_per_minute INTEGER;
ALTER TABLE project_quotas ADD COLUMN event_bytes_per_run INTEGER;
ALTER TABLE project_quotas ADD COLUMN artifact_bytes INTEGER;
ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE api_keys ADD COLUMN runs_per_minute INTEGER;
