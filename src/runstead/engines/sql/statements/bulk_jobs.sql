-- name: count_running_bulk_jobs
SELECT count(*) FROM bulk_jobs WHERE project_id = :project_id AND status = 'running'

-- name: add_bulk_job
INSERT INTO bulk_jobs ({bulk_job}) VALUES ({:bulk_job})

-- name: add_bulk_job_part
INSERT INTO bulk_job_parts (job_id, start, runs) VALUES (:job_id, :start, :runs)

-- name: forget_bulk_jobs
DELETE FROM bulk_jobs WHERE project_id = :project_id AND status <> 'running' AND created_at <= (
  SELECT created_at FROM bulk_jobs WHERE project_id = :project_id ORDER BY project_id DESC, created_at DESC LIMIT 1 OFFSET :kept
)

-- name: bulk_job | lock_bulk_job
SELECT {bulk_job} FROM bulk_jobs WHERE id = :id{| FOR UPDATE}

-- name: running_bulk_jobs
SELECT {bulk_job} FROM bulk_jobs WHERE ended_at IS NULL ORDER BY updated_at, id LIMIT :limit

-- name: bulk_job_part
SELECT runs FROM bulk_job_parts WHERE job_id = :job_id AND start = :start

-- name: drop_bulk_job_parts
DELETE FROM bulk_job_parts WHERE job_id = :job_id
