"""Messages in SQLite: how one is stored, and how a page of them is read."""

import sqlite3
from typing import Any, Final

from msgspec.structs import astuple, replace

from runstead.core.conversations.conversation import MessageRun, MessageWithRun, StoredMessage, same_message
from runstead.core.errors import not_found
from runstead.core.runs.run import RunStatus
from runstead.engines.sqlite.sql import Q

_FIELDS: Final = len(StoredMessage.__struct_fields__)


def add_message(connection: sqlite3.Connection, message: StoredMessage, now: int) -> StoredMessage:
    """The message with the seq it got."""
    counted = (now, message.conversation_id, message.id)
    row = connection.execute(Q["next_message"], counted).fetchone()
    if row is None:
        raise not_found("Conversation")
    stored = replace(message, seq=row[0])
    connection.execute(Q["add_message"], astuple(stored))
    return stored


def write_message(connection: sqlite3.Connection, message: StoredMessage, now: int) -> StoredMessage:
    """A caller's message, or the one that stands under its idempotency key."""
    where = message.conversation_id
    if connection.execute(Q["conversation_lives"], (where,)).fetchone() is None:
        raise not_found("Conversation")
    if message.idempotency_key is not None:
        row = connection.execute(Q["message_by_key"], (where, message.idempotency_key)).fetchone()
        if row is not None:
            return same_message(StoredMessage(*row), message)
    if message.parent_id is not None:
        parent = connection.execute(Q["parent_message"], (where, message.parent_id)).fetchone()
        if parent is None:
            raise not_found("Parent message")
        message = replace(message, parent_id=parent[0])
    return add_message(connection, replace(message, created_at=now, updated_at=now), now)


def read_messages(
    connection: sqlite3.Connection, conversation_id: str, after: int, limit: int, bytes_max: int
) -> list[MessageWithRun]:
    found: list[MessageWithRun] = []
    size = 0
    for row in connection.execute(Q["messages_after"], (conversation_id, after, limit)):
        spoken = MessageWithRun(StoredMessage(*row[:_FIELDS]), _run(row[_FIELDS:]))
        size += spoken.bytes
        if found and size > bytes_max:
            break
        found.append(spoken)
    return found


def _run(values: tuple[Any, ...]) -> MessageRun | None:
    seq, run_id, status, *others = values
    return None if seq is None else MessageRun(seq, run_id, RunStatus(status), *others)
