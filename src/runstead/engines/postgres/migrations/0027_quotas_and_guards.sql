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
