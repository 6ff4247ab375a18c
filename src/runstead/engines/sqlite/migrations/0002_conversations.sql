-- The order in which conversations were made, and their newest message.
CREATE TABLE new_conversations (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  project_id TEXT NOT NULL,
  type TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  personal INTEGER NOT NULL,
  status TEXT NOT NULL,
  title TEXT,
  summary TEXT,
  metadata BLOB,
  agent_id TEXT,
  message_count INTEGER NOT NULL,
  last_message_at INTEGER,
  created_by TEXT,
  archived_at INTEGER,
  current_node TEXT
);
INSERT INTO new_conversations
  (id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id, message_count,
   last_message_at, created_by, archived_at, current_node)
  SELECT id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
    message_count, last_message_at, created_by, archived_at,
    (SELECT m.id FROM messages m WHERE m.conversation_id = conversations.id ORDER BY m.seq DESC LIMIT 1)
  FROM conversations ORDER BY created_at, id;

-- Messages of users beside those that agent runs fill. A table with rowids, since parts may be large.
CREATE TABLE new_messages (
  id TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL REFERENCES new_conversations (id),
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  run_seq INTEGER, -- the agent run that fills it: parts and status are folded from there
  parent_id TEXT,
  created_by TEXT,
  idempotency_key TEXT,
  digest BLOB, -- of what was sent under the key
  metadata BLOB,
  parts BLOB,
  UNIQUE (conversation_id, seq)
);
INSERT INTO new_messages (id, conversation_id, role, created_at, updated_at, seq, run_seq, created_by)
  SELECT id, conversation_id, 'assistant', created_at, created_at, seq, run_seq, created_by FROM messages
  ORDER BY conversation_id, seq;
DROP TABLE messages;
DROP TABLE conversations;
ALTER TABLE new_conversations RENAME TO conversations; -- and with it the reference from messages
ALTER TABLE new_messages RENAME TO messages;
CREATE UNIQUE INDEX messages_by_key ON messages (conversation_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

CREATE INDEX conversations_by_project ON conversations (project_id, seq) WHERE status <> 'deleted';

-- The open input request that holds a waiting run.
ALTER TABLE runs ADD COLUMN waiting_input_id TEXT;

-- Forms that runs ask somebody to fill in, each with its latest response. Values of secret fields are never here.
CREATE TABLE input_requests (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL,
  run_seq INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  tool_call_id TEXT NOT NULL,
  requested_responder_type TEXT NOT NULL,
  title TEXT NOT NULL,
  fields BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  salt BLOB NOT NULL,
  status TEXT NOT NULL,
  description TEXT,
  metadata BLOB,
  created_by TEXT,
  expires_at INTEGER,
  ended_at INTEGER,
  response_id TEXT,
  actor_type TEXT,
  actor_id TEXT,
  response_values BLOB,
  withheld BLOB,
  digest BLOB,
  responded_at INTEGER,
  UNIQUE (run_seq, tool_call_id)
);
CREATE INDEX input_requests_by_conversation ON input_requests (conversation_id, seq);
