"""Messages in PostgreSQL: how some are stored, and how a page of them is read."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import astuple, replace

from runstead.core.conversations.conversation import MessageRun, MessageWithRun, StoredMessage, same_message
from runstead.core.errors import not_found
from runstead.core.runs.run import RunStatus
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import Q

_FIELDS: Final = len(StoredMessage.__struct_fields__)


async def lock_live(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Conversation → how many messages it has. NOT_FOUND where one is not there, or was deleted."""
    wanted = sorted(set(ids))
    counts: dict[str, int] = dict(await connection.fetch(Q["lock_conversations"], wanted))
    if len(counts) < len(wanted):
        raise not_found("Conversation")
    return counts


async def add_messages(
    connection: Connection, messages: Sequence[StoredMessage], counts: dict[str, int]
) -> list[StoredMessage]:
    """The messages with the seqs they got, in conversations that are locked."""
    stored = []
    moved = {}
    for message in messages:
        where = message.conversation_id
        counts[where] += 1
        stored.append(replace(message, seq=counts[where]))
        moved[where] = (where, counts[where], message.created_at, message.id)
    await connection.execute(Q["count_messages"], *columns_of(list(moved.values())))
    await connection.execute(Q["add_messages"], *columns_of([astuple(message) for message in stored]))
    return stored


async def write_message(connection: Connection, message: StoredMessage, now: int) -> StoredMessage:
    """A caller's message, or the one that stands under its idempotency key."""
    where = message.conversation_id
    counts = await lock_live(connection, [where])
    if message.idempotency_key is not None:
        row = await connection.fetchrow(Q["message_by_key"], where, message.idempotency_key)
        if row is not None:
            return same_message(StoredMessage(*row), message)
    if message.parent_id is not None:
        parent = await connection.fetchval(Q["parent_message"], where, message.parent_id)
        if parent is None:
            raise not_found("Parent message")
        message = replace(message, parent_id=parent)
    [stored] = await add_messages(connection, [replace(message, created_at=now, updated_at=now)], counts)
    return stored


async def delete_message(connection: Connection, conversation_id: str, run_seq: int) -> None:
    """Remove the message that the run filled."""
    await connection.fetch(Q["lock_conversation"], conversation_id)
    gone = [row[0] for row in await connection.fetch(Q["delete_message"], conversation_id, run_seq)]
    await connection.execute(Q["orphan_messages"], conversation_id, gone)
    await connection.execute(Q["newest_message_stands"], conversation_id)


def to_spoken(row: Sequence[Any]) -> MessageWithRun:
    seq, run_id, status, *others = row[_FIELDS:]
    run = None if seq is None else MessageRun(seq, run_id, RunStatus(status), *others)
    return MessageWithRun(StoredMessage(*row[:_FIELDS]), run)
