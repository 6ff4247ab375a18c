"""Conversations in PostgreSQL."""

from msgspec.structs import astuple

from runstead.conversation import Conversation
from runstead.postgres.connection import Connection
from runstead.postgres.readers import Readers
from runstead.postgres.seals import sealed
from runstead.postgres.sql import Q
from runstead.postgres.writer import Writer
from runstead.seal import Seal


class PostgresConversations:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(self, conversation: Conversation, seal: Seal | None = None) -> Conversation:
        async def job(connection: Connection, _now: int) -> Conversation:
            await connection.execute(Q["add_conversation"], *astuple(conversation))
            return conversation

        return await self._writer.do(sealed(job, seal))

    async def get(self, conversation_id: str) -> Conversation | None:
        row = await self._readers.row(Q["conversation"], conversation_id)
        return None if row is None else Conversation(*row)
