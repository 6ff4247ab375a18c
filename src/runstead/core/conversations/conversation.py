"""Conversations and their messages. Agent runs write the assistant's messages."""

from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from runstead.core.errors import Error, not_found
from runstead.core.runs.run import RunStatus, TerminalStatus

ConversationType = Literal["chat", "agent_task", "support", "channel", "project_agent"]
ConversationStatus = Literal["active", "archived", "deleted"]
Role = Literal["user", "assistant"]

DELETED: Final = "deleted"
_NULL: Final = msgspec.Raw(b"null")


class Conversation(msgspec.Struct, frozen=True):
    """One conversation. `message_count` is also the number of the newest message, `current_node` is its id.

    An archived conversation still accepts messages and runs. A deleted one stays in the store, accepts
    nothing and is not found.
    """

    id: str
    project_id: str  # without a project: the personal scope of its user
    type: ConversationType
    created_at: int
    updated_at: int
    personal: bool = False
    status: ConversationStatus = "active"
    title: str | None = None
    summary: str | None = None
    metadata: bytes | None = None
    agent_id: str | None = None
    message_count: int = 0
    last_message_at: int | None = None
    created_by: str | None = None
    archived_at: int | None = None
    current_node: str | None = None
    run_id: str | None = None  # the run whose push service created it
    seq: int = 0  # order of creation in the store (0: not stored yet)


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as a row of the store. `seq` counts within its conversation, 0 before it is stored.

    A message with a `run_seq` is the assistant's, written by that agent run: its parts and status are
    projected from the run's events when it is read. `digest` shows whether a request with the same
    `idempotency_key` repeats this message. JSON members are JSON text.
    """

    id: str
    conversation_id: str
    role: Role
    created_at: int
    updated_at: int
    seq: int = 0
    run_seq: int | None = None
    parent_id: str | None = None
    created_by: str | None = None
    idempotency_key: str | None = None
    digest: bytes | None = None
    metadata: bytes | None = None
    parts: bytes | None = None
    outcome: bytes | None = None  # set when the run was deleted: what is kept of the run (see `Outcome`)


class MessageRun(msgspec.Struct, frozen=True):
    """The members of an agent run that its message shows. `metadata` is the run's usage object."""

    seq: int
    run_id: str
    status: RunStatus
    latest_event_id: int
    updated_at: int
    metadata: bytes | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What is kept of an agent run that retention deleted, besides the parts of its message.

    JSON in a column.
    """

    run_id: str
    status: TerminalStatus
    updated_at: int
    metadata: msgspec.Raw = _NULL
    truncated: bool = False

    @property
    def run(self) -> MessageRun:
        """The same members as `MessageRun`, without a seq or events."""
        metadata = None if self.metadata == _NULL else bytes(self.metadata)
        return MessageRun(
            seq=0,
            run_id=self.run_id,
            status=RunStatus(self.status),
            latest_event_id=0,
            updated_at=self.updated_at,
            metadata=metadata,
        )


class MessageWithRun(NamedTuple):
    """A message, and the run that writes it, if any."""

    message: StoredMessage
    run: MessageRun | None

    @property
    def bytes(self) -> int:
        """The size of the large values of the message and its run. The projected parts are not counted."""
        usage = None if self.run is None else self.run.metadata
        stored = self.message
        values = (stored.parts, stored.metadata, stored.outcome, usage)
        return sum(len(value) for value in values if value is not None)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that a caller requests for a conversation. UNSET leaves a member as it is."""

    title: str | msgspec.UnsetType | None = msgspec.UNSET
    summary: str | msgspec.UnsetType | None = msgspec.UNSET
    status: Literal["active", "archived"] | msgspec.UnsetType = msgspec.UNSET
    project_id: str | msgspec.UnsetType = msgspec.UNSET


def live(conversation: Conversation | None) -> Conversation:
    """Return the conversation. NOT_FOUND if it is missing or deleted."""
    if conversation is None or conversation.status == DELETED:
        raise not_found("Conversation")
    return conversation


def change(conversation: Conversation, wanted: Change, *, now: int) -> Conversation:
    """Return the changed conversation. CONVERSATION_LINKED if it would move from one project to another."""
    changes: dict[str, object] = {
        name: value
        for name in ("title", "summary", "status")
        if (value := getattr(wanted, name)) is not msgspec.UNSET and value != getattr(conversation, name)
    }
    if "status" in changes:
        changes["archived_at"] = now if wanted.status == "archived" else None
    if wanted.project_id is not msgspec.UNSET:
        if not conversation.personal and wanted.project_id != conversation.project_id:
            raise Error("CONVERSATION_LINKED", "The conversation already belongs to another project")
        if conversation.personal:
            changes |= {"project_id": wanted.project_id, "personal": False}
    if not changes:
        return conversation
    return replace(conversation, updated_at=max(now, conversation.updated_at), **changes)


def delete(conversation: Conversation, *, now: int) -> Conversation:
    return replace(conversation, status=DELETED, updated_at=max(now, conversation.updated_at))


def same_message(known: StoredMessage, new: StoredMessage) -> StoredMessage:
    """Return the stored message of an idempotency key.

    IDEMPOTENCY_KEY_REUSED if `new` is a different message.
    """
    if known.digest != new.digest:
        raise Error(
            "IDEMPOTENCY_KEY_REUSED",
            "This idempotency_key was used for another message; take a new key for a new message",
        )
    return known
