"""Messages of conversations: how one is stored and deleted, and how a page of them is read."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from msgspec.structs import replace

from runstead.core.conversations.conversation import MessageRun, MessageWithRun, StoredMessage, same_message
from runstead.core.errors import existing, not_found
from runstead.core.runs.run import RunStatus
from runstead.engines.sql.steps import Steps, execute, first, select_rows, value, values

#: The values of a row in the order of the fields of a record.
_message_values: Final = itemgetter(*StoredMessage.__struct_fields__)
_run_values: Final = itemgetter(*(f"r_{name}" for name in MessageRun.__struct_fields__))
#: What `MessageWithRun.bytes` counts.
_LARGE: Final = ("parts", "metadata", "outcome", "r_metadata")


def write_message(message: StoredMessage, now: int) -> Steps[StoredMessage]:
    """A caller's message, or the stored one with its idempotency key."""
    conversation_id = message.conversation_id
    if (yield from value("lock_live_conversation", id=conversation_id)) is None:
        raise not_found("Conversation")
    if message.idempotency_key is not None:
        key = message.idempotency_key
        stored = yield from first("message_by_key", StoredMessage, conversation_id=conversation_id, key=key)
        if stored is not None:
            return same_message(stored, message)
    if message.parent_id is not None:
        parent = existing(
            (yield from value("parent_message", conversation_id=conversation_id, ref=message.parent_id)),
            "Parent message",
        )
        message = replace(message, parent_id=parent)
    return (yield from add_message(replace(message, created_at=now, updated_at=now), now))


def add_message(message: StoredMessage, now: int) -> Steps[StoredMessage]:
    """The message with its number in the conversation. NOT_FOUND where that does not exist, or is deleted."""
    names = {"conversation_id": message.conversation_id, "message_id": message.id}
    seq = existing((yield from value("next_message", now=now, **names)), "Conversation")
    stored = replace(message, seq=seq)
    yield from execute("add_message", stored)
    return stored


def delete_message(conversation_id: str, run_seq: int) -> Steps[None]:
    """Delete the message that the run filled. Its replies have no parent then."""
    yield from select_rows("lock_conversation", id=conversation_id)
    ids = yield from values("delete_message", conversation_id=conversation_id, run_seq=run_seq)
    yield from execute("orphan_messages", conversation_id=conversation_id, ids=ids)
    yield from execute("update_newest_message", conversation_id=conversation_id)


def read_messages(
    conversation_id: str, after: int, limit: int, bytes_max: int
) -> Steps[list[MessageWithRun]]:
    """At most `limit` messages after a number, with at most `bytes_max` bytes of large values, but one at least."""
    size = count = 0

    def is_full(row: Mapping[str, Any]) -> bool:
        nonlocal size, count
        size += sum([len(row[name]) for name in _LARGE if row[name] is not None])
        count += 1
        return count > 1 and size > bytes_max

    rows = yield from select_rows(
        "messages_after",
        is_full,
        conversation_id=conversation_id,
        after=after,
        limit=limit,
        bytes_max=bytes_max,
    )
    return [_message_with_run(row) for row in rows]


def _message_with_run(row: Mapping[str, Any]) -> MessageWithRun:
    message = StoredMessage(*_message_values(row))
    if row["r_seq"] is None:
        return MessageWithRun(message, None)
    run = MessageRun(*_run_values(row))
    return MessageWithRun(message, replace(run, status=RunStatus(run.status)))
