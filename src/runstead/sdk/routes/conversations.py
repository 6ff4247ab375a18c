"""Routes of conversations, their messages and their runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from runstead.sdk.models.conversation import (
    Conversation,
    ConversationPage,
    ConversationType,
    Projection,
    ProjectionPage,
)
from runstead.sdk.models.message import Message, MessagePage
from runstead.sdk.routes.call import Call, chosen, members, new_key, path, query
from runstead.sdk.routes.route import RouteGroup, route


class ConversationRoutes(RouteGroup):
    @route
    def create_conversation(
        self,
        *,
        project_id: str | None = None,
        type: ConversationType | None = None,  # noqa: A002 - the member's name on the wire
        title: str | None = None,
        metadata: Any = None,
        idempotency_key: str | None = None,
    ) -> Call[Conversation]:
        """`POST /conversations`. `title` has at most 500 characters. Without `project_id` the caller owns it."""
        body = members(project_id=project_id, type=type, title=title, metadata=metadata)
        key = idempotency_key or new_key()
        return Call("POST", path("conversations"), Conversation, body=body, idempotency_key=key)

    @route
    def get_conversation(self, conversation_id: str) -> Call[Conversation]:
        """`GET /conversations/{conversation_id}`"""
        return Call("GET", path("conversations", conversation_id), Conversation)

    @route
    def list_conversations(
        self,
        *,
        project_id: str | None = None,
        status: Literal["active", "archived"] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[ConversationPage]:
        """`GET /conversations`: newest first, of one project (id or slug) or of all that the caller has access to."""
        parameters = query(project_id=project_id, status=status, cursor=cursor, limit=limit)
        return Call("GET", path("conversations"), ConversationPage, parameters)

    @route
    def update_conversation(
        self,
        conversation_id: str,
        *,
        title: str | UnsetType | None = UNSET,
        summary: str | UnsetType | None = UNSET,
        status: Literal["active", "archived"] | UnsetType = UNSET,
        project_id: str | UnsetType = UNSET,
    ) -> Call[Conversation]:
        """`PATCH /conversations/{conversation_id}`: change the members that are given.

        `project_id` links a conversation without a project. 409 CONVERSATION_LINKED where it has one.
        """
        changes = {"title": title, "summary": summary, "status": status, "project_id": project_id}
        body = {name: value for name, value in changes.items() if value is not UNSET}
        where = path("conversations", conversation_id)
        return Call("PATCH", where, Conversation, body=body, idempotency_key=new_key())

    @route
    def delete_conversation(self, conversation_id: str) -> Call[Conversation]:
        """`DELETE /conversations/{conversation_id}`: it is no longer found. Its runs continue to their end."""
        return Call("DELETE", path("conversations", conversation_id), Conversation)

    @route
    def add_message(
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

    @route
    def list_messages(
        self, conversation_id: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Call[MessagePage]:
        """`GET /conversations/{conversation_id}/messages`: oldest first."""
        where = path("conversations", conversation_id, "messages")
        return Call("GET", where, MessagePage, query(cursor=cursor, limit=limit))

    @route
    def get_conversation_run(self, conversation_id: str, run_id: str) -> Call[Projection]:
        """`GET /conversations/{conversation_id}/runs/{run_id}`: the projection of the run."""
        return Call("GET", path("conversations", conversation_id, "runs", run_id), Projection)

    @route
    def conversation_run_children(
        self,
        conversation_id: str,
        run_id: str,
        *,
        fields: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[ProjectionPage]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/children`. Members that `fields` does not name are None."""
        where = path("conversations", conversation_id, "runs", run_id, "children")
        parameters = query(fields=chosen(fields, Projection), cursor=cursor, limit=limit)
        return Call("GET", where, ProjectionPage, parameters)
