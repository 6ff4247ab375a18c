"""Conversations in SQLite."""

import sqlite3

from msgspec.structs import astuple

from runstead.conversation import Conversation
from runstead.seal import Seal
from runstead.sqlite.readers import Readers
from runstead.sqlite.seals import sealed
from runstead.sqlite.sql import Q
from runstead.sqlite.writer import Writer


class SqliteConversations:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(self, conversation: Conversation, seal: Seal | None = None) -> Conversation:
        def job(connection: sqlite3.Connection, _now: int) -> Conversation:
            connection.execute(Q["add_conversation"], astuple(conversation))
            return conversation

        return await self._writer.do(sealed(job, seal))

    async def get(self, conversation_id: str) -> Conversation | None:
        def read(connection: sqlite3.Connection) -> Conversation | None:
            row = connection.execute(Q["conversation"], (conversation_id,)).fetchone()
            if row is None:
                return None
            values = list(row)
            values[5] = bool(values[5])  # personal
            return Conversation(*values)

        return await self._readers.do(read)
