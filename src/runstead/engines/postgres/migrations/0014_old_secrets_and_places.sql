-- Until this moment a webhook's deliveries are signed with the secret before its current one as well.
ALTER TABLE webhooks ADD COLUMN old_secret text;
ALTER TABLE webhooks ADD COLUMN old_secret_until bigint;

-- Where the runs of a trigger's agent speak; each in a new conversation where there is none.
ALTER TABLE triggers ADD COLUMN conversation_id text COLLATE "C";
