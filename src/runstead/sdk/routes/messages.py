"""Routes of the messages of a conversation."""

from collections.abc import Mapping, Sequence
from typing import Any

from runstead.sdk.models.message import Message, MessagePage
from runstead.sdk.routes.call import Call, members, new_key, path
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route


class Messages(Resource[S_co]):
    """The messages of conversations. 404 for a conversation that is unknown or not visible to the caller."""

    @route
    def add(
        self,
        conversation_id: str,
        parts: str | Sequence[Mapping[str, Any]],
        *,
        parent_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Message]:
        """`POST /conversations/{conversation_id}/messages`: add a user's message, from parts or from one text.

        The same `idempotency_key` with the same message returns the stored one. With another message: 409
        IDEMPOTENCY_KEY_REUSED.
        """
        body = {
            "role": "user",
            "parts": [{"type": "text", "text": parts}] if isinstance(parts, str) else parts,
            "idempotency_key": idempotency_key or new_key(),
        }
        body |= members(parent_id=parent_id, metadata=metadata)
        return Call("POST", path("conversations", conversation_id, "messages"), Message, body=body)

    @endpoint("GET", "/conversations/{conversation_id}/messages")
    def list(
        self, conversation_id: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Call[MessagePage]:
        """The messages of a conversation, oldest first."""

    iter = every(list, Message)
