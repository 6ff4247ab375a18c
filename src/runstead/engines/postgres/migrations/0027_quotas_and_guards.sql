-- Only the retention of the audit log deletes entries. It stores a time in `audit_expiry`, deletes entries that are
-- older, and removes the time, in one transaction. Without that time every DELETE is refused, and TRUNCATE always.
CREATE TABLE audit_expiry (before bigint NOT NULL);

CREATE FUNCTION refuse_audit_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM 1 FROM audit_expiry WHERE before > OLD.at;
    IF FOUND THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION 'entries of the audit log are deleted by its retention only';
END
$$;
CREATE TRIGGER audit_entries_are_deleted_by_retention BEFORE DELETE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_audit_deletion();
CREATE TRIGGER audit_entries_are_never_truncated BEFORE TRUNCATE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_deletion();

-- Users whom an admin removed: claims of tokens and groups of a provider give them no access to the project. A user who
-- becomes a member again has no row.
CREATE TABLE removed_members (
  project_id text COLLATE "C" NOT NULL REFERENCES projects (id),
  user_id text COLLATE "C" NOT NULL,
  removed_at bigint NOT NULL,
  PRIMARY KEY (project_id, user_id)
);

-- What a run's log and a run's stored artifacts hold, in bytes: NULL is none, and what an older version stored.
ALTER TABLE runs ADD COLUMN event_bytes bigint, ADD COLUMN artifact_bytes bigint;
-- The sum of `artifact_bytes` of a project's runs.
CREATE TABLE artifact_bytes (
  project_id text COLLATE "C" PRIMARY KEY,
  bytes bigint NOT NULL
);

ALTER TABLE project_quotas ADD COLUMN runs_per_minute bigint, ADD COLUMN event_bytes_per_run bigint,
  ADD COLUMN artifact_bytes bigint;
ALTER TABLE api_keys ADD COLUMN requests_per_minute bigint, ADD COLUMN runs_per_minute bigint;
