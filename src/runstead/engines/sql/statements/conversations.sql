-- name: add_conversation
INSERT INTO conversations ({new_conversation}) VALUES ({:new_conversation}) RETURNING seq

-- name: conversation | lock_conversation
SELECT {conversation} FROM conversations WHERE id = :id{| FOR UPDATE}

-- name: lock_live_conversation
SELECT id FROM conversations WHERE id = ANY (ARRAY[:id::text]) AND status <> 'deleted' ORDER BY id FOR UPDATE

-- name: conversations_page
-- One short scan of an index for each project: a scan over all of them would have to sort.
-- postgres
SELECT page.* FROM (SELECT DISTINCT id FROM unnest(:project_ids::text[]) AS named (id)) AS projects
CROSS JOIN LATERAL (
  SELECT {conversation} FROM conversations
  WHERE project_id = projects.id AND status <> 'deleted' AND (:status::text IS NULL OR status = :status)
    AND seq < :before
  ORDER BY seq DESC LIMIT :limit
) AS page
ORDER BY seq DESC LIMIT :limit
-- sqlite
SELECT {conversation} FROM conversations WHERE seq IN (
  SELECT page.seq FROM json_each(:project_ids) AS projects
  CROSS JOIN conversations AS page ON page.seq IN (
    SELECT seq FROM conversations
    WHERE project_id = projects.value AND status <> 'deleted' AND (:status IS NULL OR status = :status) AND seq < :before
    ORDER BY seq DESC LIMIT :limit
  )
)
ORDER BY seq DESC LIMIT :limit

-- name: change_conversation
UPDATE conversations SET project_id = :project_id, personal = :personal, updated_at = :updated_at, status = :status,
  title = :title, summary = :summary, archived_at = :archived_at
WHERE id = :id

-- name: runs_of_conversation
SELECT run_seq FROM messages WHERE conversation_id = :conversation_id AND run_seq IS NOT NULL

-- name: lock_runs
SELECT seq, parent_seq, run_id FROM runs WHERE seq = ANY (:seqs::bigint[]) ORDER BY seq FOR UPDATE

-- name: children_seqs
SELECT parent_seq, seq FROM runs WHERE parent_seq = ANY (:seqs::bigint[]) ORDER BY parent_seq, seq

-- name: run_ids_taken
SELECT run_id FROM runs WHERE project_id = :project_id AND run_id = ANY (:run_ids::text[]) LIMIT 1

-- name: move_runs
UPDATE runs SET project_id = :project_id, version = version + 1 WHERE seq = ANY (:seqs::bigint[])
