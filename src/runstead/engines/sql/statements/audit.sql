-- name: add_audit_entry
INSERT INTO audit_entries ({new_audit_entry}) VALUES ({:new_audit_entry})

-- name: audit_page | audit_page_of_object | audit_page_of_actor | audit_page_of_action
SELECT {audit_entry} FROM audit_entries
WHERE project_id = :project_id
  {|AND object_kind = :object_kind AND object_id = :object_id|AND actor_id = :actor|AND action = :action}
  AND (at, seq) < (:before_at::bigint, :before_seq::bigint) AND at > :after::bigint
  AND (:object_kind::text IS NULL OR object_kind = :object_kind)
  AND (:actor::text IS NULL OR actor_id = :actor) AND (:action::text IS NULL OR action = :action)
ORDER BY at DESC, seq DESC LIMIT :limit

-- name: allow_audit_expiry
-- A trigger refuses to delete entries, except those that are older than a time in this table.
INSERT INTO audit_expiry (before) VALUES (:before)

-- name: refuse_audit_expiry
DELETE FROM audit_expiry

-- name: expire_audit_entries
DELETE FROM audit_entries WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM audit_entries WHERE at < :before ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED
))
