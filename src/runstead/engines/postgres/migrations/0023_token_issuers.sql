-- A token is valid while its issuer is: 'api_key:<id>', 'member:<user>' or 'claim:<user>'. Tokens of earlier versions name
-- none. They stay valid for a week, in which their workers can register again.
ALTER TABLE worker_tokens ADD COLUMN issuer text COLLATE "C";
ALTER TABLE worker_tokens ADD COLUMN expires_at bigint NOT NULL DEFAULT 0;
UPDATE worker_tokens SET expires_at = (extract(epoch FROM clock_timestamp())::bigint + 7 * 86400) * 1000;

-- The quota of projects counts those of a user.
CREATE INDEX projects_by_creator ON projects (created_by) WHERE personal_of IS NULL;
