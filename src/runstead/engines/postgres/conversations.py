"""Conversations and their messages in PostgreSQL."""

import asyncpg
from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.conversations.conversation import Conversation, MessageWithRun, StoredMessage
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.messages import to_spoken, write_message
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.rollups import note_moved
from runstead.engines.postgres.sql import Q
from runstead.ports.store import ConversationQuery, DecideConversation


async def _conversation(connection: Connection, query: str, conversation_id: str) -> Conversation | None:
    row = await connection.fetchrow(Q[query], conversation_id)
    return None if row is None else Conversation(*row)


class PostgresConversations:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, conversation: Conversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        async def job(connection: Connection, now: int) -> Conversation:
            new = replace(conversation, created_at=now, updated_at=now)
            seq = await connection.fetchval(Q["add_conversation"], *astuple(new)[:-1])
            return replace(new, seq=seq)

        return await self._writer.do(idempotent(job, idempotency))

    async def get(self, conversation_id: str) -> Conversation | None:
        row = await self._readers.row(Q["conversation"], conversation_id)
        return None if row is None else Conversation(*row)

    async def page(self, query: ConversationQuery) -> list[Conversation]:
        before = limits.integer_max if query.before is None else query.before
        arguments = (list(query.project_ids), query.status, before, query.limit)
        return [Conversation(*row) for row in await self._readers.rows(Q["conversations_page"], *arguments)]

    async def change(
        self, conversation_id: str, decide: DecideConversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        async def job(connection: Connection, now: int) -> Conversation:
            # Runs are locked before conversations: so it is decided once to see whether it moves any, and once for good.
            seen = await _conversation(connection, "conversation", conversation_id)
            moves = seen is not None and decide(seen, now).project_id != seen.project_id
            held = await _lock_runs(connection, conversation_id) if moves else None
            old = await _conversation(connection, "lock_conversation", conversation_id)
            new = decide(old, now if old is None else max(now, old.updated_at))
            if old is None or new is old:
                return new
            if new.project_id != old.project_id:
                await _move_runs(connection, new, held)
            values = (new.project_id, new.personal, new.updated_at, new.status, new.title, new.summary)
            await connection.execute(Q["change_conversation"], new.id, *values, new.archived_at)
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def add_message(
        self, message: StoredMessage, idempotency: IdempotencyRecord | None = None
    ) -> StoredMessage:
        return await self._writer.do(idempotent(lambda c, now: write_message(c, message, now), idempotency))

    async def messages(
        self, conversation_id: str, after: int, limit: int, bytes_max: int
    ) -> list[MessageWithRun]:
        rows = await self._readers.rows(Q["messages_after"], conversation_id, after, limit, bytes_max)
        return [to_spoken(row) for row in rows]


_Held = dict[int, tuple[int | None, str]]
"""seq → parent_seq and run_id"""


async def _lock_runs(connection: Connection, conversation_id: str) -> _Held:
    seqs = [row[0] for row in await connection.fetch(Q["runs_of_conversation"], conversation_id)]
    return {row[0]: (row[1], row[2]) for row in await connection.fetch(Q["lock_runs"], seqs)}


async def _move_runs(connection: Connection, conversation: Conversation, held: _Held | None) -> None:
    """No run joins while its conversation is locked, and none gets a child while it is locked itself."""
    there = {row[0] for row in await connection.fetch(Q["runs_of_conversation"], conversation.id)}
    if held is None or there != held.keys():
        raise asyncpg.SerializationError("a run joined the conversation, or left it")
    seqs = list(held)
    outside = {
        parent for parent, child in await connection.fetch(Q["children_seqs"], seqs) if child not in held
    }
    outside |= {seq for seq, (parent, _) in held.items() if parent is not None and parent not in held}
    if outside:
        raise Error(
            "CONVERSATION_LINKED",
            f"The run {held[min(outside)][1]} of the conversation has a parent or child outside it and cannot move"
            " to a project",
        )
    names = [run_id for _, run_id in held.values()]
    taken = await connection.fetchval(Q["runs_there"], conversation.project_id, names)
    if taken is not None:
        raise Error("RUN_ID_CONFLICT", f"The project holds a run {taken}, as the conversation does")
    await note_moved(connection, seqs, conversation.project_id)
    await connection.execute(Q["move_runs"], conversation.project_id, seqs)
