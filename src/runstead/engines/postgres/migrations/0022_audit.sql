-- The audit log: columns as the fields of runstead.core.audit.AuditEntry. Entries are added and, when they are old,
-- deleted by the retention of the log. They are never changed.
CREATE TABLE audit_entries (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
  project_id text COLLATE "C" NOT NULL, -- '' for an entry that belongs to no project
  at bigint NOT NULL,
  actor_kind text COLLATE "C" NOT NULL,
  actor_id text COLLATE "C" NOT NULL,
  actor_name text,
  credential_id text COLLATE "C",
  address text COLLATE "C",
  request_id text COLLATE "C",
  action text COLLATE "C" NOT NULL,
  object_kind text COLLATE "C" NOT NULL,
  object_id text COLLATE "C" NOT NULL,
  change bytea
);
CREATE INDEX audit_entries_by_project ON audit_entries (project_id, at, seq);
CREATE INDEX audit_entries_by_actor ON audit_entries (project_id, actor_id, at, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (project_id, action, at, seq);
CREATE INDEX audit_entries_by_object ON audit_entries (project_id, object_kind, object_id, at, seq);
CREATE INDEX audit_entries_by_age ON audit_entries (at);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'entries of the audit log are never changed';
END
$$;
CREATE TRIGGER audit_entries_are_never_changed BEFORE UPDATE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
