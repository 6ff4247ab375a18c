"""Messages of a conversation: users' messages, and those projected from the events of agent runs."""

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
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.identity.project import user_uuid


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A user's message to add. `parts` is a JSON array, `metadata` a JSON object."""

    parts: bytes
    parent_id: str | None = None
    idempotency_key: str | None = None
    metadata: bytes | None = None


async def add(
    app: App, principal: Principal, conversation_id: str, new: NewMessage, idempotency: Idempotency = None
) -> StoredMessage:
    """Store the message, or find it under its idempotency key.

    Raises NOT_FOUND; IDEMPOTENCY_KEY_REUSED if the key was used for another message.
    """
    refuse_bound(principal, "cannot write messages")
    conversation = await locate.conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
    digest = None
    if new.idempotency_key is not None:
        members: list[Any] = [new.parent_id]
        members += [None if text is None else msgspec.json.decode(text) for text in (new.parts, new.metadata)]
        digest = hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest()
    message = StoredMessage(
        id=str(uuid.uuid4()),
        conversation_id=conversation_id,
        role="user",
        created_at=0,
        updated_at=0,
        created_by=user_uuid(principal.id),
        digest=digest,
        **msgspec.structs.asdict(new),
    )
    stored = await app.store.conversations.add_message(message, idempotency)
    app.publish_conversation(replace(conversation, updated_at=stored.created_at))
    return stored


def _archived(message: StoredMessage) -> tuple[MessageWithRun, Projected]:
    """Return the message of a deleted run, as it was projected before the deletion."""
    outcome = msgspec.json.decode(message.outcome or b"", type=Outcome)
    parts = message.parts or b"[]"
    return MessageWithRun(message, outcome.run), Projected(outcome.status, parts, outcome.truncated, 0)


async def page(
    app: App, principal: Principal, conversation_id: str, after: int, limit: int
) -> tuple[list[tuple[MessageWithRun, Projected | None]], bool]:
    """Return the messages after a seq, oldest first, and whether more follow.

    Messages of agent runs are projected from their events. A page holds at most
    `limits.message_page_bytes_max` and one more projection (`limits.message_projection_bytes_max`) in memory, so a
    page of large messages ends early.
    """
    if principal.kind != "conversation_reader":
        refuse_bound(principal, "cannot read messages")
    conversation = await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)
    budget = limits.message_page_bytes_max
    spoken = await app.store.conversations.messages(conversation_id, after, limit + 1, budget)
    shown: list[tuple[MessageWithRun, Projected | None]] = []
    spent = 0
    for entry in spoken[:limit]:
        if spent > budget:
            return shown, True
        projected = None if entry.run is None else await app.projections.of(entry.run)
        shown.append((entry, projected) if entry.message.outcome is None else _archived(entry.message))
        spent += entry.bytes + (0 if projected is None else projected.cost)
    # The page may have ended at its limit in bytes, so the conversation's newest message decides whether more
    # follow. `message_count` alone cannot: it counts the messages of deleted runs too.
    newest = shown[-1][0].message if shown else None
    return shown, newest is not None and (
        newest.seq < conversation.message_count and newest.id != conversation.current_node
    )
