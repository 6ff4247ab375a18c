-- The keys that count for a project's limit, and those that keep a project without an admin among its members usable.
CREATE INDEX api_keys_valid ON api_keys (project_id) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_admin ON api_keys (project_id) WHERE revoked_at IS NULL AND scopes LIKE '%admin%';
CREATE INDEX members_admin ON members (project_id) WHERE role = 'admin';
-- Runs whose cancel has not reached all of their descendants.
CREATE INDEX runs_cancelling ON runs (seq) WHERE status = 'cancelled' AND descendants_active > 0;
