"""Conversations, their messages, and input requests."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from runstead.core.conversations.conversation import Conversation, MessageWithRun, StoredMessage
from runstead.core.conversations.input_request import InputRequest
from runstead.core.idempotency import Idempotency
from runstead.ports.store.list_page import ListPage


class ConversationQuery(msgspec.Struct, frozen=True):
    """A list of the conversations of these projects.

    `before` continues after a page: the seq of its last row.
    """

    project_ids: tuple[str, ...]
    status: str | None = None
    before: int | None = None
    limit: int = 50


DecideConversation = Callable[[Conversation | None, int], Conversation]
"""(stored conversation, now) → the changed conversation; it may raise a refusal."""


class Conversations(Protocol):
    async def create(self, conversation: Conversation, idempotency: Idempotency = None) -> Conversation:
        """Store a conversation with the next seq and the current time."""

    async def get(self, conversation_id: str) -> Conversation | None:
        """Return the conversation, even if it was deleted."""

    async def page(self, query: ConversationQuery) -> ListPage[Conversation]:
        """Return conversations, newest first, without deleted ones: at most `limits.list_page_bytes_max` of them."""

    async def change(
        self, conversation_id: str, decide: DecideConversation, idempotency: Idempotency = None
    ) -> Conversation:
        """Change a conversation under lock. If its project changes, its agent runs move too, each with a new
        version.

        CONVERSATION_LINKED if one of these runs has a parent or child outside the conversation.
        RUN_ID_CONFLICT if the new project has a run with the same id.
        """

    async def add_message(self, message: StoredMessage, idempotency: Idempotency = None) -> StoredMessage:
        """Store a message with the next seq, and count it in its conversation. If its idempotency key has a
        message, `same_message` decides.

        NOT_FOUND if the conversation does not exist or was deleted, or if `parent_id` is neither the id nor
        the idempotency key of one of its messages.
        """

    async def messages(
        self, conversation_id: str, after: int, limit: int, bytes_max: int
    ) -> list[MessageWithRun]:
        """Return messages with a seq greater than `after`, in order: at most `limit`, and until their `bytes`
        exceed `bytes_max`. The first message is always returned.
        """


class InputRequests(Protocol):
    """Reads input requests. They are opened and closed by transitions of their run (`Runs.apply`)."""

    async def get(self, request_id: str) -> InputRequest | None: ...

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> ListPage[InputRequest]:
        """Return input requests, newest first: at most `limits.list_page_bytes_max` of them.

        `before` is the seq of the last row of the previous page.
        """

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        """Return at most `limit` input requests of the run, and at most `limits.list_page_bytes_max` of them, newest
        first.
        """
