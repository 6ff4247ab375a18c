"""Messages of a conversation: what users wrote, and what agent runs have said."""

import hashlib
import uuid
from typing import Any

import msgspec
from msgspec.structs import replace

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.projections import Projected
from runstead.core import limits
from runstead.core.conversations.conversation import MessageWithRun, Outcome, StoredMessage
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.identity.project import user_uuid


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A user's message. `parts` is a JSON array, `metadata` a JSON object."""

    parts: bytes
    parent_id: str | None = None
    idempotency_key: str | None = None
    metadata: bytes | None = None


async def add(
    app: App,
    principal: Principal,
    conversation_id: str,
    new: NewMessage,
    idempotency: IdempotencyRecord | None = None,
) -> StoredMessage:
    """Store the message, or find it under its idempotency key: IDEMPOTENCY_KEY_REUSED where another stands there."""
    refuse_bound(principal, "writes no messages")
    conversation = await locate.conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
    digest = None
    if new.idempotency_key is not None:
        told: list[Any] = [new.parent_id]
        told += [None if text is None else msgspec.json.decode(text) for text in (new.parts, new.metadata)]
        digest = hashlib.sha256(msgspec.json.encode(told, order="sorted")).digest()
    message = StoredMessage(
        str(uuid.uuid4()),
        conversation_id,
        "user",
        0,
        0,
        parent_id=new.parent_id,
        created_by=user_uuid(principal.id),
        idempotency_key=new.idempotency_key,
        digest=digest,
        metadata=new.metadata,
        parts=new.parts,
    )
    stored = await app.store.conversations.add_message(message, idempotency)
    app.publish_conversation(replace(conversation, updated_at=stored.created_at))
    return stored


def _left(message: StoredMessage) -> tuple[MessageWithRun, Projected]:
    """A message whose run is gone, as it was while the run was there."""
    outcome = msgspec.json.decode(message.outcome or b"", type=Outcome)
    parts = message.parts or b"[]"
    return MessageWithRun(message, outcome.run), Projected(outcome.status, parts, outcome.truncated, 0)


async def page(
    app: App, principal: Principal, conversation_id: str, after: int, limit: int
) -> tuple[list[tuple[MessageWithRun, Projected | None]], bool]:
    """Messages after a seq, oldest first, those of agent runs folded, and whether more follow.

    What a page holds in memory is bounded by `limits.message_page_bytes_max` and the fold of one message
    (`limits.message_projection_bytes_max`): it ends early where its messages are large, or took much reading.
    """
    refuse_bound(principal, "reads no messages")
    conversation = await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)
    budget = limits.message_page_bytes_max
    spoken = await app.store.conversations.messages(conversation_id, after, limit + 1, budget)
    shown: list[tuple[MessageWithRun, Projected | None]] = []
    spent = 0
    for one in spoken[:limit]:
        if spent > budget:
            return shown, True
        folded = None if one.run is None else await app.projections.of(one.run)
        shown.append((one, folded) if one.message.outcome is None else _left(one.message))
        spent += one.bytes + (0 if folded is None else folded.cost)
    # A page that was full of bytes says nothing of what follows; the conversation knows its newest message. Its count
    # alone does not: it numbers messages, and those of deleted runs are gone.
    newest = shown[-1][0].message if shown else None
    return shown, newest is not None and (
        newest.seq < conversation.message_count and newest.id != conversation.current_node
    )
