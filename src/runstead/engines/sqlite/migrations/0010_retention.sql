-- From here on, flag 16 of an event says that its payload is a zlib stream; so may be, and say so by their first byte, a
-- run's config, input, output, request_snapshot and logs.

-- What a run that is gone said of the message that it filled.
ALTER TABLE messages ADD COLUMN outcome BLOB;
