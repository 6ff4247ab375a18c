"""Messages of a conversation."""

from datetime import datetime
from typing import Any

from runstead.sdk.models.response import Listing, ResponseModel


class TokenUsage(ResponseModel, frozen=True, kw_only=True):
    """Input and output tokens of a model."""

    input: int
    output: int


class Message(ResponseModel, frozen=True, kw_only=True):
    """One message of a conversation.

    An assistant's message is made from the events of the agent run `run_id`. Its `status` follows the run: pending,
    streaming, completed, failed or cancelled. `truncated`: the run's log is too long to be shown completely.
    """

    id: str
    conversation_id: str
    seq: int
    role: str
    parts: list[dict[str, Any]]
    status: str
    created_at: datetime
    updated_at: datetime
    parent_id: str | None = None
    created_by: str | None = None
    model: str | None = None
    token_usage: TokenUsage | None = None
    finish_reason: str | None = None
    edited_at: datetime | None = None
    idempotency_key: str | None = None
    metadata: Any = None
    run_id: str | None = None
    truncated: bool = False

    @property
    def text(self) -> str:
        """The joined text parts."""
        return "".join(part.get("text", "") for part in self.parts if part["type"] == "text")


class MessagePage(Listing[Message], frozen=True, kw_only=True):
    """One page of the messages of a conversation."""

    conversation_id: str
