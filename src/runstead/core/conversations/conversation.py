"""Conversations: where agent runs speak, and the messages in them."""

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
    """One conversation. `message_count` is also the number of the newest message, `current_node` its id.

    `status`: an archived one takes messages and runs as before; a deleted one is kept, takes nothing and is not found.
    """

    id: str
    project_id: str  # for one without a project: the personal scope of its user
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
    seq: int = 0  # the order of creation in the store (0: not stored yet)


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as it is stored: a row. `seq` counts within its conversation, 0 before it is stored.

    One with a `run_seq` is the assistant's, filled by that agent run: its parts and status are folded from the run when
    it is read. `digest` tells under an `idempotency_key` whether a repeat is one. JSON members are JSON text.
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
    outcome: bytes | None = None  # of one whose run is gone: what the run said of it (see `Outcome`)


class MessageRun(msgspec.Struct, frozen=True):
    """What an agent run says of the message that it fills. `metadata` is its usage object."""

    seq: int
    run_id: str
    status: RunStatus
    latest_event_id: int
    updated_at: int
    metadata: bytes | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What is left of an agent run that retention deleted, beside the parts of its message: JSON in a column."""

    run_id: str
    status: TerminalStatus
    updated_at: int
    metadata: msgspec.Raw = _NULL
    truncated: bool = False

    @property
    def run(self) -> MessageRun:
        """As the run would say it."""
        metadata = None if self.metadata == _NULL else bytes(self.metadata)
        return MessageRun(
            seq=0,
            run_id=self.run_id,
            status=RunStatus(self.status),
            latest_event_id=0,
            updated_at=self.updated_at,
            metadata=metadata,
        )


class Spoken(NamedTuple):
    """A message, and the run that fills it where one does."""

    message: StoredMessage
    run: MessageRun | None

    @property
    def bytes(self) -> int:
        """The size of its large values, those of the run included; what is folded from the log is not."""
        usage = None if self.run is None else self.run.metadata
        stored = self.message
        values = (stored.parts, stored.metadata, stored.outcome, usage)
        return sum(len(value) for value in values if value is not None)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants changed of a conversation; UNSET leaves a member as it is."""

    title: str | msgspec.UnsetType | None = msgspec.UNSET
    summary: str | msgspec.UnsetType | None = msgspec.UNSET
    status: Literal["active", "archived"] | msgspec.UnsetType = msgspec.UNSET
    project_id: str | msgspec.UnsetType = msgspec.UNSET


def live(conversation: Conversation | None) -> Conversation:
    """The conversation, where there is one that was not deleted."""
    if conversation is None or conversation.status == DELETED:
        raise not_found("Conversation")
    return conversation


def change(conversation: Conversation, wanted: Change, *, now: int) -> Conversation:
    """The conversation with the changes. One that belongs to a project stays there: CONVERSATION_LINKED."""
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
    """The message that stands under an idempotency key, where the new one repeats it."""
    if known.digest != new.digest:
        raise Error(
            "IDEMPOTENCY_KEY_REUSED",
            "This idempotency_key was used for another message; take a new key for a new message",
        )
    return known
