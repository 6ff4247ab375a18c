"""Conversations, their messages, and the forms that runs ask to be filled in."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from runstead.core.conversations.conversation import Conversation, MessageWithRun, StoredMessage
from runstead.core.conversations.input_request import InputRequest
from runstead.core.idempotency import IdempotencyRecord


class ConversationQuery(msgspec.Struct, frozen=True):
    """Conversations of any of these projects. `before` continues after a page: its last row's seq."""

    project_ids: tuple[str, ...]
    status: str | None = None
    before: int | None = None
    limit: int = 50


DecideConversation = Callable[[Conversation | None, int], Conversation]
"""(conversation as it is stored, now) → conversation as it shall be, or a refusal."""


class Conversations(Protocol):
    async def create(
        self, conversation: Conversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        """Store it with the next seq and the time of now."""
        ...

    async def get(self, conversation_id: str) -> Conversation | None:
        """A deleted one too."""
        ...

    async def page(self, query: ConversationQuery) -> list[Conversation]:
        """Newest first, without deleted ones."""
        ...

    async def change(
        self, conversation_id: str, decide: DecideConversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        """Write what was decided. Where its project changes, its agent runs move with it, each with its version moved:
        CONVERSATION_LINKED where one of them has a parent or child outside the conversation, RUN_ID_CONFLICT where the
        project holds a run of the same id.
        """
        ...

    async def add_message(
        self, message: StoredMessage, idempotency: IdempotencyRecord | None = None
    ) -> StoredMessage:
        """Store it with the next seq, and count it in its conversation; or the one that stands under its
        idempotency key, by `same_message`. NOT_FOUND for a conversation that is not there or deleted, and for a
        `parent_id` that names no message of it, neither by id nor by idempotency key.
        """
        ...

    async def messages(
        self, conversation_id: str, after: int, limit: int, bytes_max: int
    ) -> list[MessageWithRun]:
        """Those with a seq over `after`, in order: at most `limit`, and no more once their `bytes` exceed `bytes_max`
        (the first always comes).
        """
        ...


class InputRequests(Protocol):
    """Input requests are opened and closed by the transitions of their run (`Runs.apply`); here they are read."""

    async def get(self, request_id: str) -> InputRequest | None: ...

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> list[InputRequest]:
        """Newest first; `before` is the seq of the last one of the page before."""
        ...

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        """Newest first."""
        ...
