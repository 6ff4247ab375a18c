-- What a run that is gone said of the message that it filled.
ALTER TABLE messages ADD COLUMN outcome BLOB;
