"""Conversations, and the runs in them."""

from typing import Any

from runstead.sdk.call import Call, members, new_key, path, query
from runstead.sdk.conversation import Conversation, ConversationType, Projection, ProjectionPage
from runstead.sdk.route import Described, route


class ConversationRoutes(Described):
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
        """`POST /conversations`. `title` has at most 500 characters; without `project_id` it is the caller's own."""
        body = members(project_id=project_id, type=type, title=title, metadata=metadata)
        key = idempotency_key or new_key()
        return Call("POST", path("conversations"), Conversation, body=body, idempotency_key=key)

    @route
    def get_conversation(self, conversation_id: str) -> Call[Conversation]:
        """`GET /conversations/{conversation_id}`"""
        return Call("GET", path("conversations", conversation_id), Conversation)

    @route
    def get_conversation_run(self, conversation_id: str, run_id: str) -> Call[Projection]:
        """`GET /conversations/{conversation_id}/runs/{run_id}`: the run as its conversation shows it."""
        return Call("GET", path("conversations", conversation_id, "runs", run_id), Projection)

    @route
    def conversation_run_children(
        self, conversation_id: str, run_id: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Call[ProjectionPage]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/children`"""
        where = path("conversations", conversation_id, "runs", run_id, "children")
        return Call("GET", where, ProjectionPage, query(cursor=cursor, limit=limit))
