"""Conversations and their messages in SQLite."""

import sqlite3
from typing import Any

from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.conversations.conversation import Conversation, MessageWithRun, StoredMessage
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.usage.rollup import end_of, moved
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.messages import read_messages, write_message
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rollups import note, rolled_up
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import ConversationQuery, DecideConversation


def _to_conversation(row: tuple[Any, ...]) -> Conversation:
    values = list(row)
    values[5] = bool(values[5])  # personal
    return Conversation(*values)


def _conversation(connection: sqlite3.Connection, conversation_id: str) -> Conversation | None:
    row = connection.execute(Q["conversation"], (conversation_id,)).fetchone()
    return None if row is None else _to_conversation(row)


class SqliteConversations:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, conversation: Conversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        def job(connection: sqlite3.Connection, now: int) -> Conversation:
            new = replace(conversation, created_at=now, updated_at=now)
            seq = connection.execute(Q["add_conversation"], astuple(new)[:-1]).lastrowid
            assert seq is not None
            return replace(new, seq=seq)

        return await self._writer.do(idempotent(job, idempotency))

    async def get(self, conversation_id: str) -> Conversation | None:
        return await self._readers.do(lambda c: _conversation(c, conversation_id))

    async def page(self, query: ConversationQuery) -> list[Conversation]:
        before = 1 << 62 if query.before is None else query.before

        def read(connection: sqlite3.Connection) -> list[Conversation]:
            # One short index scan for each project: a single one over all of them would have to sort.
            found = [
                _to_conversation(row)
                for project_id in query.project_ids
                for row in connection.execute(
                    Q["conversations_page"], (project_id, query.status, before, query.limit)
                )
            ]
            found.sort(key=lambda one: one.seq, reverse=True)
            return found[: query.limit]

        return await self._readers.do(read)

    async def change(
        self, conversation_id: str, decide: DecideConversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        def job(connection: sqlite3.Connection, now: int) -> Conversation:
            old = _conversation(connection, conversation_id)
            new = decide(old, now)
            if old is None or new is old:
                return new
            if new.project_id != old.project_id:
                _move_runs(connection, new)
            values = (new.project_id, new.personal, new.updated_at, new.status, new.title, new.summary)
            connection.execute(Q["change_conversation"], (new.id, *values, new.archived_at))
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def add_message(
        self, message: StoredMessage, idempotency: IdempotencyRecord | None = None
    ) -> StoredMessage:
        quick = len(message.parts or b"") <= limits.loop_bytes_max
        return await self._writer.do(
            idempotent(lambda c, now: write_message(c, message, now), idempotency), quick=quick
        )

    async def messages(
        self, conversation_id: str, after: int, limit: int, bytes_max: int
    ) -> list[MessageWithRun]:
        return await self._readers.do(lambda c: read_messages(c, conversation_id, after, limit, bytes_max))


def _move_runs(connection: sqlite3.Connection, conversation: Conversation) -> None:
    """All checks come before the first write: a refusal leaves nothing behind."""
    runs = connection.execute(Q["runs_of_conversation"], (conversation.id,)).fetchall()
    moving = {seq for seq, _, _ in runs}
    for seq, parent_seq, run_id in runs:
        below = {child for (child,) in connection.execute(Q["children_seqs"], (seq,))}
        if not below <= moving or parent_seq not in moving | {None}:
            raise Error(
                "CONVERSATION_LINKED",
                f"The run {run_id} of the conversation has a parent or child outside it and cannot move to a project",
            )
        there = connection.execute(Q["run_by_key"], (run_id, conversation.project_id)).fetchone()
        if there is not None:
            raise Error("RUN_ID_CONFLICT", f"The project holds a run {run_id}, as the conversation does")
    for seq in moving:
        run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
        if run.terminal:
            entries = moved(end_of(run), conversation.project_id, rolled_up=rolled_up(connection, seq))
            note(connection, entries)
    connection.executemany(Q["move_run"], [(conversation.project_id, seq) for seq in moving])
